"""Questions about the next visits, on the command line: `popk decide`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from popk.cli.fitted import fit_of, patients_for, trough_of
from popk.cli.options import CommandError, Reading, parse_weeks
from popk.cli.output import open_console, print_plain, print_table, print_written

if TYPE_CHECKING:
    import xarray as xr

    from popk.dataset import Dataset

__all__ = ["decide"]

decide = App(
    name="decide",
    help="Ask about patients' next visits: which are feasible, a plan, a delay, the next sample.",
)

_OUT = Parameter(help="File for the table, .csv")
_MOST = 60  # rows shown


@decide.command
def visit(  # noqa: PLR0913
    run: Path,
    patients: str,
    *,
    target: float,
    probability: float = 0.9,
    weeks: str | None = None,
    weekdays: str | None = None,
    calendar: str | None = None,
    last_dose: str | None = None,
    shortest: float | None = None,
    longest: float | None = None,
    step: float | None = None,
    assay: Annotated[bool, Parameter(negative="")] = False,
    out: Annotated[Path | None, _OUT] = None,
    seed: int = 1,
    reading: Reading | None = None,
) -> None:
    """List every feasible visit with its probability, and the longest that holds the target.

    Example: popk decide visit RUN patients.csv --target 10 --weekdays Mon,Thu --shortest 4
    --longest 8 --step 1 --last-dose 2026-05-04

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
        Candidate intervals: 4:8 (both ends included) or 4,5,6; 4:8 where no days are given
    weekdays
        Weekdays on which the site infuses: Mon,Thu (with --shortest and --longest)
    calendar
        Dates on which it does: 2026-05-28,2026-06-11
    last_dose
        Date of the last dose in the data, as 2026-05-04, or by ID: N1=2026-05-04,N2=2026-05-07
    shortest
        Shortest interval, in weeks
    longest
        Longest interval, in weeks
    step
        At most so many weeks longer than the patient's present interval
    assay
        Also what a laboratory would measure
    seed
        Seed of the random numbers
    """
    from popk.decision import Visits, interval_for_trough

    days = {
        "weekdays": tuple((weekdays or "").replace(" ", "").split(",")) if weekdays else (),
        "calendar": tuple((calendar or "").replace(" ", "").split(",")) if calendar else (),
    }
    candidates = parse_weeks(weeks) if weeks else () if any(days.values()) else range(4, 9)
    visits = Visits(candidates, **days, shortest=shortest, longest=longest, step=step)
    fit, people = _given(run, patients, reading)
    found = interval_for_trough(
        fit, people, target=trough_of(fit, target), visits=visits, probability=probability,
        last_dose=_dates(last_dose), noise=assay, seed=seed,
    )  # fmt: skip
    _show(found, fit, out)


@decide.command
def plan(  # noqa: PLR0913
    run: Path,
    patients: str,
    *,
    weeks: str,
    target: float,
    stop_below: float | None = None,
    back_to: float | None = None,
    out: Annotated[Path | None, _OUT] = None,
    figure: Path | None = None,
    seed: int = 1,
    reading: Reading | None = None,
) -> None:
    """Follow a plan of intervals visit by visit, with and without a sample at each visit.

    Example: popk decide plan RUN patients.csv --weeks 5,6,6 --target 10 --stop-below 8

    Parameters
    ----------
    run
        Folder that `popk fit` wrote
    patients
        Data file of the patients, or the word cohort for the patients of the fit
    weeks
        Intervals of the plan in weeks, the first from the last dose: 4,5,6,6
    target
        Trough to hold, in the concentration unit of the fit
    stop_below
        A measured trough below this sends the patient back
    back_to
        To which interval, in weeks; without it to the one before
    figure
        File for a figure of P(trough >= target) by visit, .png, .svg or .pdf
    seed
        Seed of the random numbers
    """
    from popk.decision import Plan, transition_plan

    try:
        intervals = [float(part) for part in weeks.split(",")]
    except ValueError:
        raise CommandError(f"--weeks is {weeks!r}; expected weeks such as 4,5,6,6.") from None
    if figure is not None and figure.suffix not in (".png", ".svg", ".pdf"):
        raise CommandError(f"--figure is {figure}; expected a file ending in .png, .svg or .pdf.")
    fit, people = _given(run, patients, reading)
    stop = None if stop_below is None else trough_of(fit, stop_below)
    way = Plan(intervals, stop_below=stop, back_to=back_to)
    found = transition_plan(fit, people, plan=way, target=trough_of(fit, target), seed=seed)
    _show(found, fit, out)
    if figure is not None:
        from popk.plots import plot_plan

        plot_plan(found).savefig(figure, dpi=150)
        print_written(open_console(), figure)


@decide.command
def slip(  # noqa: PLR0913
    run: Path,
    patients: str,
    *,
    target: float,
    week: float | None = None,
    days: int = 14,
    probability: float = 0.9,
    out: Annotated[Path | None, _OUT] = None,
    seed: int = 1,
    reading: Reading | None = None,
) -> None:
    """Say what becomes of P(trough >= target) when the next visit slips, day by day.

    Example: popk decide slip RUN patients.csv --target 10 --week 6 --days 10

    Parameters
    ----------
    run
        Folder that `popk fit` wrote
    patients
        Data file of the patients, or the word cohort for the patients of the fit
    target
        Trough to hold, in the concentration unit of the fit
    week
        Planned interval from the last dose, in weeks; without it the patient's present one
    days
        Up to how many days late
    probability
        Probability with which to hold the target
    seed
        Seed of the random numbers
    """
    from popk.decision import slipped_visit

    fit, people = _given(run, patients, reading)
    found = slipped_visit(
        fit, people, target=trough_of(fit, target), week=week, days=days, probability=probability,
        seed=seed,
    )  # fmt: skip
    _show(found, fit, out)


@decide.command
def sample(  # noqa: PLR0913
    run: Path,
    patients: str,
    *,
    target: float,
    weeks: str = "4:8",
    days: str | None = None,
    next_dose: float | None = None,
    infusion: float | None = None,
    probability: float = 0.9,
    out: Annotated[Path | None, _OUT] = None,
    seed: int = 1,
    reading: Reading | None = None,
) -> None:
    """Say when the next sample is best taken, and what it is worth for choosing the interval.

    Example: popk decide sample RUN patients.csv --target 10 --next-dose 4 --infusion 0.5

    Parameters
    ----------
    run
        Folder that `popk fit` wrote
    patients
        Data file of the patients, or the word cohort for the patients of the fit
    target
        Trough to hold, in the concentration unit of the fit
    weeks
        Intervals to choose among: 4:8 (both ends included) or 4,5,6
    days
        Days of sampling after the last dose: 14,21,28; without it every week
    next_dose
        Weeks after the last dose at which the next one is given: the interval chosen follows it.
        Without it, the interval chosen is the one that is running
    infusion
        What one infusion less is worth, in days under the target: with it the expected value of
        the sample in a year, in such days
    probability
        Probability with which the target must be held
    seed
        Seed of the random numbers
    """
    from popk.decision import Utility, Visits, next_trough

    try:
        sampled = None if days is None else [float(part) for part in days.split(",")]
    except ValueError:
        raise CommandError(f"--days is {days!r}; expected days such as 14,21,28.") from None
    utility = None if infusion is None else Utility(infusion=infusion)
    fit, people = _given(run, patients, reading)
    found = next_trough(
        fit, people, target=trough_of(fit, target), visits=Visits(parse_weeks(weeks)), days=sampled,
        next_dose=next_dose, utility=utility, probability=probability, seed=seed,
    )  # fmt: skip
    _show(found, fit, out)


def _given(run: Path, patients: str, reading: Reading | None) -> tuple[xr.DataTree, Dataset | None]:
    fit = fit_of(run)
    return fit, patients_for(fit, patients, reading)


def _dates(text: str | None) -> Any:
    if text is None or "=" not in text:
        return text
    pairs = [part.partition("=") for part in text.split(",")]
    return {name.strip(): value.strip() for name, _, value in pairs}


def _show(found: xr.DataTree, fit: xr.DataTree, out: Path | None) -> None:
    """Print the table, the sentences and what they rest on; write the table where asked."""
    from popk.decision import decision_frame
    from popk.reporting import answer_table
    from popk.storage import write_atomically

    if out is not None and out.suffix != ".csv":
        raise CommandError(f"--out is {out}; expected a file ending in .csv.")
    console = open_console()
    frame = decision_frame(found)
    print_table(console, answer_table(found, most=_MOST), fit, key="answer", frame=frame)
    own = found["decision"].to_dataset()
    for subject, words in zip(own["subject"].values, own["words"].values, strict=True):
        print_plain(console, f"ID {subject}: {words}")
    print_plain(console, f"It rests on {found.attrs['rests_on']}")
    for name in ("caveat", "statement"):
        if name in found.attrs:
            print_plain(console, found.attrs[name])
    if out is not None:
        write_atomically(out, lambda path: frame.to_csv(path, index=False, lineterminator="\n"))
        print_written(console, out)
