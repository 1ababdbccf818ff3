"""Half-life and what is left after some weeks, on the command line: `popk half-life`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from popk.catalogue import find_model
from popk.cli.fitted import FIT, fit_of, patients_for
from popk.cli.options import UNSURE, CommandError, Reading
from popk.cli.output import open_console, print_plain, print_table, print_written

if TYPE_CHECKING:
    import pandas as pd

    from popk.regimen import Regimen

__all__ = ["half_life"]


def half_life(  # noqa: PLR0913
    source: str,
    patients: str | None = None,
    *,
    weeks: str = "4,6",
    since: str = "peak",
    single: Annotated[list[str] | None, Parameter(negative="")] = None,
    target: float | None = None,
    dose: float | None = None,
    duration: float = 0.0,
    every: float = 4.0,
    repeats: int = 10,
    subject: str | None = None,
    draws: int = 100,
    seed: int = 1,
    out: Annotated[Path | None, Parameter(help="File for the table, .csv")] = None,
    figure: Path | None = None,
    reading: Reading | None = None,
) -> int:
    """Say how fast a concentration falls after a dose, and what is left after some weeks.

    Example: popk half-life natalizumab --dose 300 --subject WT=70 --weeks 4,6 --target 10
    --single "US label=11" --single "EU label=28.2"

    Parameters
    ----------
    source
        Folder of a fit, or a model: the name of one that comes with popk, or its file
    patients
        Data file of patients, or the word cohort for those of the fit; the population without it
    weeks
        Weeks after the last dose at which to say what is left
    since
        What 100 % is: peak, trough (that at the usual interval), or weeks after the dose
    single
        A half-life to hold against it, in the model's unit of time: NAME=11; repeatable
    target
        Trough that must not be undercut, in the concentration unit of the model
    dose
        Of the population: amount of each dose; the usual dose and interval of the fit without it
    duration
        Of the population: duration of the infusion, in the model's unit of time
    every
        Of the population: interval of the doses, in weeks
    repeats
        Of the population: how many doses
    subject
        Of the population: covariates of the people meant, WT=70,SEX=1; those of the fit without it
    draws
        Of the population: draws of its parameters
    seed
        Seed of the random numbers
    figure
        File for a figure, .png, .svg or .pdf
    """
    for path, kinds in ((out, (".csv",)), (figure, (".png", ".svg", ".pdf"))):
        if path is not None and path.suffix not in kinds:
            named = "--out" if path is out else "--figure"
            raise CommandError(f"{named} is {path}; expected a file ending in {', '.join(kinds)}.")
    asked = _numbers(weeks)
    from_ = since if since in ("peak", "trough") else _numbers(since, "--since")[0]
    rules = {name: value for one in single or [] for name, value in [_rule(one)]}
    people = None if subject is None else _people(subject)

    from popk.decision import decision_frame
    from popk.elimination import half_life as asked_about
    from popk.fitted import model_of
    from popk.individual import Trough
    from popk.reporting import answer_table
    from popk.storage import write_atomically

    run = Path(source)
    fit = fit_of(run) if (run / FIT).is_file() else None
    origin = find_model(source) if fit is None else fit
    model = find_model(source) if fit is None else model_of(fit)
    regimen = None if dose is None else _regimen(dose, every, repeats, duration, model.units)
    given = None
    if patients is not None:
        if fit is None:
            raise CommandError(
                f"{source} is a model, which knows no patients; give a fit's folder."
            )
        data = patients_for(fit, patients, reading)
        given = fit["posterior"].to_dataset()["subject"].values.tolist() if data is None else data
    found = asked_about(
        origin, given, weeks=asked, since=from_, single=rules,
        target=None if target is None else Trough(target, model.units.concentration),
        regimen=regimen, subjects=people, draws=draws, seed=seed,
    )  # fmt: skip
    console = open_console()
    frame = decision_frame(found)
    print_table(console, answer_table(found), fit, key="half_life", frame=frame)
    own = found["decision"].to_dataset()
    for name, words in zip(own["subject"].values, own["words"].values, strict=True):
        print_plain(console, f"{name if given is None else f'ID {name}'}: {words}")
    print_plain(console, f"It rests on {found.attrs['rests_on']}")
    print_plain(console, str(found.attrs["statement"]))
    if out is not None:
        write_atomically(out, lambda path: frame.to_csv(path, index=False, lineterminator="\n"))
        print_written(console, out)
    if figure is not None:
        from popk.plots import plot_half_life

        plot_half_life(found).savefig(figure, dpi=150)
        print_written(console, figure)
    return 0 if int(found.attrs["converged"]) else UNSURE


def _numbers(text: str, option: str = "--weeks") -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        also = "peak, trough or weeks" if option == "--since" else "weeks such as 4,6"
        raise CommandError(f"{option} is {text!r}; expected {also}.") from None


def _rule(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    try:
        return name.strip() or f"{float(value):g}", float(value)
    except ValueError:
        raise CommandError(
            f'--single is {text!r}; expected a half-life with a name, "US label=11".'
        ) from None


def _people(text: str) -> pd.DataFrame:
    import pandas as pd

    pairs = [part.partition("=") for part in text.split(",")]
    try:
        return pd.DataFrame({name.strip(): [float(value)] for name, _, value in pairs})
    except ValueError:
        raise CommandError(f"--subject is {text!r}; expected WT=70,SEX=1.") from None


def _regimen(dose: float, every: float, repeats: int, duration: float, units: object) -> Regimen:
    from popk.regimen import Regimen
    from popk.units import Units

    assert isinstance(units, Units)
    interval = every * units.time_in("wk")
    return Regimen(amount=dose, interval=interval, repeats=repeats, duration=duration)
