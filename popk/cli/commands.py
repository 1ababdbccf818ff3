"""The commands of `popk` that stand in no module of their own: data, fits, one patient.

Whatever is slow to import is imported inside the command that needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from popk.catalogue import find_model, list_models
from popk.cli.fitted import (
    finish,
    fit_of,
    patients_for,
    refuse_used,
    trough_of,
)
from popk.cli.options import UNSURE, CommandError, Reading, Sampling, parse_weeks, read
from popk.cli.outcome import add_table, add_written, emit, is_json
from popk.cli.output import (
    count_intervals,
    open_console,
    print_card,
    print_models,
    print_plain,
    print_prior_check,
    print_table,
    print_written,
    track,
)

if TYPE_CHECKING:
    from rich.console import Console

    from popk.dataset import Dataset
    from popk.model import PopModel

__all__ = ["check", "check_priors", "demo", "fit", "individualise", "models"]

_ROWS_SHOWN = 20
_PANELS = 60  # of the figure of the patients
_WIDE = 125  # columns of a terminal that holds the whole table of intervals


def models(model: str | None = None) -> None:
    """List the models that come with popk, or print the card of one: all that it assumes.

    Example: popk models natalizumab

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


def check(data: str, *, plot: Path | None = None, reading: Reading | None = None) -> None:
    """Check a data file: print its summary, or everything that is wrong in it.

    Example: popk check cohort.csv --units time=d,amount=mg,concentration=mg/L,WT=kg

    Parameters
    ----------
    data
        Event table: CSV or TSV, Parquet, Excel, SAS transport
    plot
        File for a figure of every patient's doses and samples, .png, .svg or .pdf
    """
    from popk.dataset.problems import render

    reading = reading or Reading()
    if plot is not None and plot.suffix not in (".png", ".svg", ".pdf"):
        raise CommandError(f"--plot is {plot}; expected a file ending in .png, .svg or .pdf.")
    if reading.units is None:
        raise CommandError(
            "The units are missing. Add, for example, "
            "--units time=d,amount=mg,concentration=mg/L,WT=kg; every covariate to read is named "
            "there with its unit."
        )
    dataset = read(data, reading, {})
    console = open_console()
    _emit_dataset(dataset)
    if console.is_terminal:
        console.print(dataset)
    else:
        print_plain(console, repr(dataset))
    if dataset.warnings:
        print_plain(console, render(dataset.warnings, Path(data).name))
    else:
        print_plain(console, f"{Path(data).name} can be used: nothing was found.")
    if plot is not None:
        from popk.plots import plot_dataset

        plot_dataset(dataset, most=_PANELS).savefig(plot, dpi=150)
        rest = dataset.n_subjects - _PANELS
        more = f" (the first {_PANELS} patients; {rest} more are not drawn)" if rest > 0 else ""
        print_written(console, plot, more=more)


def check_priors(
    model: str,
    data: str,
    *,
    reading: Reading | None = None,
    draws: int = 1000,
    seed: int = 1,
) -> int:
    """Check a model's priors against a data file before fitting: magnitudes and mistaken units.

    Example: popk check-priors natalizumab cohort.csv

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

    found = compare(chosen, dataset, draws=draws, seed=seed)
    print_prior_check(console, found)
    return 0 if found.plausible else UNSURE


def fit(
    model: str,
    data: str,
    *,
    out: Path,
    reading: Reading | None = None,
    sampling: Sampling | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Fit a model to a data file; print the verdict first, then the population parameters.

    Example: popk fit natalizumab cohort.csv --out runs/first --seed 1

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
    from popk.inference import discard_run, sample, terminal_progress

    method = sampling.method()
    if overwrite:
        discard_run(out)
    with terminal_progress(console) as progress:
        result = sample(
            chosen, dataset, method=method, seed=sampling.seed, progress=progress, run=out
        )
    return finish(console, result, out)


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

    Example: popk individualise runs/first new.csv --target 10 --probability 0.9 --weeks 4:8

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
        console, interval_table(advice, most=_ROWS_SHOWN, details=console.width >= _WIDE), fitted,
        key="intervals", frame=interval_frame(advice),
    )  # fmt: skip
    subjects = advice["decision"].to_dataset()["subject"].values
    shown = [str(name) for name in subjects[:_ROWS_SHOWN]]
    if (found := findings_table(advice, only=None if is_json() else shown)) is not None:
        print_table(console, found, key="findings")
    if advice.attrs.get("together"):
        print_plain(console, advice.attrs["together"])
    left = advice["decision"].sizes["subject"] - _ROWS_SHOWN
    if left > 0:
        print_plain(console, f"… and {left} more patients in {listed.name}.")
    print_plain(console, count_intervals(advice))
    print_written(console, stored, listed, more=replaced)


def demo(*, out: Path = Path("demo-run")) -> None:
    """Fit real nimotuzumab data and a synthetic natalizumab cohort; find intervals; report.

    Example: popk demo --out demo-run

    Parameters
    ----------
    out
        Folder for everything that the demonstration writes
    """
    from popk.demo import run as carry_out

    carry_out(out, open_console())
    add_written(out)


def _emit_dataset(dataset: Dataset) -> None:
    """Put what was read into the document of --json."""
    if not is_json():
        return
    emit(
        "dataset",
        {
            "fingerprint": dataset.fingerprint,
            "subjects": dataset.n_subjects,
            "observations": dataset.n_observations,
            "units": dataset.units.to_dict(),
            "unused_columns": list(dataset.unused_columns),
            "provenance": list(dataset.provenance),
            "warnings": [problem.to_text() for problem in dataset.warnings],
        },
    )
    add_table("subjects", dataset.subject_table().reset_index())


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
