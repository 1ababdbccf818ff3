"""One patient's sheet on the command line: `popk sheet`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from popk.cli.fitted import fit_of, patients_for, trough_of
from popk.cli.options import CommandError, Reading, parse_weeks
from popk.cli.output import open_console, print_written

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["sheet"]


def sheet(  # noqa: PLR0913
    run: Path,
    patients: str,
    *,
    subject: Annotated[str, Parameter(name="--id")],
    target: float,
    out: Path,
    probability: float = 0.9,
    weeks: str = "4:8",
    last_dose: str | None = None,
    weekdays: str | None = None,
    pdf: Annotated[bool, Parameter(negative="")] = False,
    seed: int = 1,
    reading: Reading | None = None,
) -> None:
    """Write one patient's advice, with all that it rests on, as a page that prints on one sheet.

    Example: popk sheet RUN patients.csv --id 7 --target 10 --last-dose 2026-05-04 --out sheet.html

    Parameters
    ----------
    run
        Folder that `popk fit` wrote
    patients
        Data file of the patients, or the word cohort for the patients of the fit
    subject
        The patient's ID
    target
        Trough to hold, in the concentration unit of the fit
    out
        The page's file, .html
    probability
        Probability with which to hold it
    weeks
        Candidate intervals: 4:8 (both ends included) or 4,5,6
    last_dose
        Date of the patient's last dose in the data, as 2026-05-04: times get dates
    weekdays
        Weekdays on which the site infuses, as Mon,Thu: the feasible visits up to the longest
        candidate are listed too (with --last-dose)
    pdf
        Print the page to a PDF beside it, by an installed Chromium, Chrome or Edge
    seed
        Seed of the random numbers
    """
    if out.suffix != ".html":
        raise CommandError(f"--out is {out}; expected a file ending in .html.")
    if weekdays and last_dose is None:
        raise CommandError("--weekdays was given without --last-dose: days have no dates then.")
    from popk.storage import check_place

    place, candidates = check_place(out), parse_weeks(weeks)
    fit = fit_of(run)
    people = _people(fit, patients, subject, reading)

    from popk.monitoring import individualise
    from popk.reporting import sheet as compose

    asked: dict[str, Any] = {
        "target": trough_of(fit, target),
        "probability": probability,
        "seed": seed,
    }
    advice = individualise(fit, people, weeks=candidates, **asked)
    visits = None
    if weekdays:
        from popk.decision import Visits, interval_for_trough

        days = Visits(
            weekdays=weekdays.replace(" ", "").split(","),
            shortest=min(candidates),
            longest=max(candidates),
        )
        visits = interval_for_trough(fit, advice, visits=days, last_dose=last_dose, **asked)
    page = compose(fit, advice, subject, visits=visits, last_dose=last_dose, path=place)
    console = open_console()
    print_written(console, place)
    # Last: without a browser everything else is there.
    if pdf:
        print_written(console, page.write_pdf(place.with_suffix(".pdf")))


def _people(fit: xr.DataTree, patients: str, subject: str, reading: Reading | None) -> Any:
    """The patient alone; all others would be advised for nothing."""
    dataset = patients_for(fit, patients, reading)
    names = fit["posterior"].to_dataset()["subject"].values if dataset is None else dataset.subjects
    held = [str(name) for name in names]
    if subject not in held:
        some = ", ".join(held[:10]) + (f" and {len(held) - 10} more" if len(held) > 10 else "")
        raise CommandError(f"--id is {subject}, of whom there are no data; there are {some}.")
    return [subject] if dataset is None else dataset.select([subject])
