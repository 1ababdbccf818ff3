"""The commands of `popk` and what happens to their errors.

Whatever is slow to import is imported inside the command that needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, CycloptsError, Parameter

from popk.cli.batched import batch
from popk.cli.bedside import sheet
from popk.cli.calibrated import sbc
from popk.cli.compared import compare
from popk.cli.conversion import import_nonmem
from popk.cli.decided import decide
from popk.cli.fitted import (
    finish,
    fit_of,
    patients_for,
    refuse_used,
    resume,
    trough_of,
)
from popk.cli.foreseen import forecast
from popk.cli.models import find_model, list_models
from popk.cli.options import CommandError, Reading, Sampling, parse_weeks, read
from popk.cli.output import (
    count_intervals,
    open_console,
    print_card,
    print_models,
    print_plain,
    print_prior_check,
    print_table,
    track,
)
from popk.cli.reported import report
from popk.cli.robust import robustness
from popk.cli.served import serve
from popk.cli.tried import trial
from popk.errors import PopkError

if TYPE_CHECKING:
    from rich.console import Console

    from popk.dataset import Dataset
    from popk.model import PopModel

__all__ = ["app", "main"]

_ROWS_SHOWN = 20
_TERMINATED = 143  # 128 + SIGTERM
_WIDE = 125  # columns of a terminal that holds the whole table of intervals


def _version() -> str:
    from popk import __version__

    return __version__


app = App(
    name="popk",
    version=_version,
    help="Bayesian population pharmacokinetics: from sparse concentrations to the next dosing "
    "interval. Research software, not a medical device.",
    suppress_keyboard_interrupt=False,
)
app.command(batch)
app.command(compare)
app.command(decide)
app.command(forecast)
app.command(import_nonmem)
app.command(report)
app.command(resume)
app.command(robustness)
app.command(sbc)
app.command(serve)
app.command(sheet)
app.command(trial)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `popk` with the arguments given (those of the process without them).

    Returns
    -------
    int
        0 when done, 2 when what was asked cannot be done (one message on stderr), 130 when
        interrupted, 143 when terminated.
    """
    errors = open_console(stderr=True)
    try:
        app(
            list(sys.argv[1:] if argv is None else argv),
            exit_on_error=False,
            error_console=errors,
            result_action="return_none",
        )
    except CycloptsError:
        return 2  # cyclopts has printed it
    except KeyboardInterrupt as end:
        _print_end(errors, "Interrupted", end)
        return 130
    except SystemExit as end:
        if end.code != _TERMINATED:
            raise
        _print_end(errors, "Terminated", end)
        return _TERMINATED
    except (PopkError, OSError) as fault:
        sentence = _sentence(fault)
        if sentence is None:
            raise
        errors.print(sentence, markup=False, highlight=False, soft_wrap=True)
        return 2
    return 0


@app.command
def models(model: str | None = None) -> None:
    """List the models that come with popk, or print the card of one: all that it assumes.

    Parameters
    ----------
    model
        Name of a model that comes with popk (natalizumab), a JSON file of one, or a Python file
        that defines `model`; FILE.py:NAME takes another name from it. Without it the models are
        listed
    """
    console = open_console()
    if model is None:
        print_models(console, list_models())
        print_plain(console, "popk models NAME prints a model's card.")
    else:
        print_card(console, find_model(model))


@app.command
def check(data: str, *, reading: Reading | None = None) -> None:
    """Check a data file: print its summary, or everything that is wrong in it.

    Parameters
    ----------
    data
        Comma-separated event table with NONMEM column names
    """
    from popk.dataset.problems import render

    reading = reading or Reading()
    if reading.units is None:
        raise CommandError(
            "The units are missing. Add, for example, "
            "--units time=d,amount=mg,concentration=mg/L,WT=kg; every covariate to read is named "
            "there with its unit."
        )
    dataset = read(data, reading, {})
    console = open_console()
    print_plain(console, repr(dataset))
    if dataset.warnings:
        print_plain(console, render(dataset.warnings, Path(data).name))
    else:
        print_plain(console, f"{Path(data).name} can be used: nothing was found.")


@app.command
def check_priors(
    model: str,
    data: str,
    *,
    reading: Reading | None = None,
    draws: int = 1000,
    seed: int = 1,
) -> None:
    """Check a model's priors against a data file before fitting: magnitudes and mistaken units.

    Parameters
    ----------
    model
        Name of a model that comes with popk (natalizumab), a JSON file of one, or a Python file
        that defines `model`; FILE.py:NAME takes another name from it
    data
        Comma-separated event table with NONMEM column names
    draws
        Draws from the priors, 1000 or more
    seed
        Seed of the random numbers
    """
    console = open_console()
    chosen = find_model(model)
    dataset = _read_for(chosen, data, reading or Reading(), console)

    # Slow to import, and not needed to refuse what was given above.
    from popk.diagnostics import check_priors as compare

    print_prior_check(console, compare(chosen, dataset, draws=draws, seed=seed))


@app.command
def fit(
    model: str,
    data: str,
    *,
    out: Path,
    reading: Reading | None = None,
    sampling: Sampling | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Fit a model to a data file; print the verdict first, then the population parameters.

    Parameters
    ----------
    model
        Name of a model that comes with popk (natalizumab), a JSON file of one, or a Python file
        that defines `model`; FILE.py:NAME takes another name from it
    data
        Comma-separated event table with NONMEM column names
    out
        Folder of the run, made if needed; draws are written there while they are made, so that an
        interrupted run can be resumed, then the fit and a manifest
    overwrite
        Replace the run that the folder holds
    """
    sampling = sampling or Sampling()
    refuse_used(out, overwrite=overwrite)
    console = open_console()
    chosen = find_model(model)
    dataset = _read_for(chosen, data, reading or Reading(), console)

    # Slow to import, and not needed to refuse what was given above.
    from popk.inference import discard_run, sample

    method = sampling.method()
    if overwrite:
        discard_run(out)
    result = sample(chosen, dataset, method=method, seed=sampling.seed, progress=True, run=out)
    finish(console, result, out)


@app.command
def individualise(
    run: Path,
    patients: str,
    *,
    target: float,
    probability: float = 0.9,
    weeks: str = "4:8",
    seed: int = 1,
    reading: Reading | None = None,
) -> None:
    """Find each patient's longest dosing interval that holds a trough target.

    Parameters
    ----------
    run
        Folder that `popk fit` wrote
    patients
        Data file of the patients, or the word cohort for the patients of the fit
    target
        Trough to hold, in the concentration unit of the fit
    probability
        Probability with which to hold it
    weeks
        Candidate intervals: 4:8 (both ends included) or 4,5,6
    seed
        Seed of the random numbers
    """
    from popk.storage import save, write_atomically

    candidates = parse_weeks(weeks)
    if not 0 < probability < 1:
        raise CommandError(f"--probability is {probability:g}; it lies between 0 and 1, as 0.9.")
    fitted = fit_of(run)
    goal, people = trough_of(fitted, target), patients_for(fitted, patients, reading)

    from popk.monitoring import individualise as advise
    from popk.reporting import findings_table, interval_frame, interval_table

    console = open_console()
    with track(console, "patients") as progress:
        advice = advise(
            fitted,
            people,
            target=goal,
            probability=probability,
            weeks=candidates,
            seed=seed,
            progress=progress,
        )
    place = run / f"advice_{target:g}.nc"
    replaced = " (older ones are replaced)" if place.exists() else ""
    stored = save(advice, place)
    listed = write_atomically(
        stored.with_suffix(".csv"),
        lambda path: interval_frame(advice).to_csv(path, index=False, lineterminator="\n"),
    )
    print_table(
        console, interval_table(advice, most=_ROWS_SHOWN, details=console.width >= _WIDE), fitted
    )
    subjects = advice["decision"].to_dataset()["subject"].values
    shown = [str(name) for name in subjects[:_ROWS_SHOWN]]
    if (found := findings_table(advice, only=shown)) is not None:
        print_table(console, found)
    if advice.attrs.get("together"):
        print_plain(console, advice.attrs["together"])
    left = advice["decision"].sizes["subject"] - _ROWS_SHOWN
    if left > 0:
        print_plain(console, f"… and {left} more patients in {listed.name}.")
    print_plain(console, count_intervals(advice))
    print_plain(console, f"Written: {stored} and {listed}{replaced}.")


@app.command
def demo(*, out: Path = Path("demo-run")) -> None:
    """Fit real nimotuzumab data and a synthetic natalizumab cohort; find intervals; report.

    Parameters
    ----------
    out
        Folder for everything that the demonstration writes
    """
    from popk.demo import run

    run(out, open_console())


def _print_end(errors: Console, word: str, end: BaseException) -> None:
    """Say what ended the command, and what its run's folder noted on how to go on."""
    notes = " ".join(getattr(end, "__notes__", ())) or "No result was written."
    errors.print(f"{word}. {notes}", markup=False, highlight=False, soft_wrap=True)


def _sentence(fault: Exception) -> str | None:
    """What to tell the user; None for a fault of popk itself."""
    if isinstance(fault, PopkError):
        return str(fault)
    if isinstance(fault, OSError) and fault.strerror:
        where = f"{fault.filename}: " if fault.filename is not None else ""
        return f"{where}{fault.strerror}."
    return None


def _read_for(model: PopModel, data: str, reading: Reading, console: Console) -> Dataset:
    """A model's data, in its units unless others were given; warnings are printed."""
    from popk.dataset.problems import render

    if reading.units is None:
        units = ", ".join(f"{name} {unit}" for name, unit in model.units.to_dict().items())
        print_plain(console, f"Units, as --units was not given: those of {model.name} ({units}).")
    dataset = read(data, reading, model.units.to_dict())
    if dataset.warnings:
        print_plain(console, render(dataset.warnings, Path(data).name))
    return dataset
