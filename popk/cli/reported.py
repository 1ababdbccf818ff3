"""Reports on the command line: one page for a run, or for several that were compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter

from popk.cli.fitted import fit_of
from popk.cli.outcome import add_written
from popk.cli.output import open_console, print_plain, print_written, track
from popk.cli.robust import advice_of, looked

if TYPE_CHECKING:
    import xarray as xr
    from rich.console import Console

    from popk.reporting import Page

__all__ = ["Computed", "Paper", "computed_for", "report", "write_page"]

_REPORT = "report.html"


@Parameter(name="*")
@dataclass(frozen=True)
class Paper:
    """What a page says of itself, and what is written beside it."""

    title: Annotated[str | None, Parameter(help="The page's title")] = None
    question: Annotated[str, Parameter(help="What the analysis is to answer, in your words")] = ""
    checks: Annotated[
        bool,
        Parameter(
            help="Compute residuals, NPDE, visual predictive checks and shrinkage for the page",
            negative="--no-checks",
        ),
    ] = True
    robustness: Annotated[
        bool,
        Parameter(
            help="Compute the sensitivity to the prior and the influence of single patients for "
            "the page; not without the checks either",
            negative="--no-robustness",
        ),
    ] = True
    loo_pit: Annotated[
        bool,
        Parameter(
            help="Compute LOO-PIT too, the place of each observation in what all others predict: "
            "minutes where the model has no closed form",
            negative="",
        ),
    ] = False
    forecasts: Annotated[
        bool,
        Parameter(
            help="Evaluate forecasts of every observation from none, one, two, ... earlier "
            "samples too: minutes, and refits where a patient is influential; with advice in the "
            "run's folder its decisions are judged",
            negative="",
        ),
    ] = False
    files: Annotated[
        bool,
        Parameter(
            help="Write every table as CSV and every figure as SVG too, into a folder beside the "
            "page: report_files for report.html",
            negative="",
        ),
    ] = False
    pdf: Annotated[
        bool,
        Parameter(
            help="Print the page to a PDF beside it, by an installed Chromium, Chrome or Edge",
            negative="",
        ),
    ] = False


def report(
    run: Path, *, out: Path | None = None, seed: int = 1, paper: Paper | None = None
) -> None:
    """Write the run's report: one HTML page that needs nothing else.

    Example: popk report runs/first --out report.html --files

    Parameters
    ----------
    run
        Folder that `popk fit` wrote; all advice in it is part of the report
    out
        The page's file, report.html in the run's folder without it
    seed
        Seed of the random numbers of the checks
    """
    from popk.storage import check_place

    paper = paper or Paper()
    fitted = fit_of(run)
    place = check_place(out or run / _REPORT)
    trees = advice_of(run, fitted)

    from popk.reporting import report as compose

    console = open_console()
    found = computed_for({"": fitted}, trees, paper, seed=seed)
    page = compose(
        fitted,
        trees,
        checks=found.checks.get(""),
        robustness=found.robustness.get(""),
        forecasts=found.forecasts.get(""),
        title=paper.title,
        question=paper.question,
    )
    write_page(page, place, paper, console)


class Computed(NamedTuple):
    """What was computed for a page, each by the names of the fits."""

    checks: dict[str, xr.DataTree]
    robustness: dict[str, xr.DataTree]
    forecasts: dict[str, xr.DataTree]


def computed_for(
    fits: Mapping[str, xr.DataTree], advice: Sequence[xr.DataTree], paper: Paper, *, seed: int
) -> Computed:
    """Checks, robustness and forecasts of each fit, as asked for, with bars meanwhile."""
    from popk.comparison import evaluate_forecasts
    from popk.diagnostics import diagnose

    console = open_console()
    found = Computed({}, {}, {})
    for name, fit in fits.items():
        of = f" of {name}" if name else ""
        if paper.checks:
            with track(console, f"checks{of}") as bar:
                found.checks[name] = diagnose(fit, seed=seed, progress=bar)
        usual = paper.checks and paper.robustness
        if usual or paper.loo_pit:
            found.robustness[name] = looked(
                fit, advice, usual=usual, loo_pit=paper.loo_pit, seed=seed, name=name
            )
        if paper.forecasts:
            with track(console, f"forecasts{of}") as bar:
                found.forecasts[name] = evaluate_forecasts(
                    fit, seed=seed, progress=bar, **_decisions(advice)
                )
    return found


def _decisions(advice: Sequence[xr.DataTree]) -> dict[str, Any]:
    """What the decisions are judged by: the target of the first advice."""
    from popk.individual import Trough

    if not advice:
        return {}
    attrs = advice[0].attrs
    return {
        "target": Trough(float(attrs["target"]), str(attrs["target_units"])),
        "probability": float(attrs["probability"]),
        "weeks": advice[0]["decision"].to_dataset()["week"].values.tolist(),
    }


def write_page(page: Page, place: Path, paper: Paper, console: Console) -> None:
    """Write a page and what was asked for beside it; say where."""
    from popk.journal import note_written

    written = [str(page.write(place))]
    add_written(place)
    note_written(place)
    if paper.files:
        folder = place.with_name(f"{place.stem}_files")
        tables = page.write_tables(folder / "tables")
        figures = page.write_figures(folder / "figures")
        add_written(folder)
        note_written(folder)
        written.append(f"{folder} ({len(tables)} tables, {len(figures)} figures)")
    print_plain(console, f"Written: {' and '.join(written)}.")
    # Last: without a browser everything else is there.
    if paper.pdf:
        print_written(console, page.write_pdf(place.with_suffix(".pdf")))
