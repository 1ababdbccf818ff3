"""Reports on the command line: one page for a run, or for several that were compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from popk.cli.fitted import FIT, fit_file
from popk.cli.options import CommandError
from popk.cli.output import open_console, print_plain, track

if TYPE_CHECKING:
    import xarray as xr
    from rich.console import Console

    from popk.reporting import Page

__all__ = ["Paper", "diagnosed", "report", "write_page"]

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

    Parameters
    ----------
    run
        Folder that `popk fit` wrote; all advice in it is part of the report
    out
        The page's file, report.html in the run's folder without it
    seed
        Seed of the random numbers of the checks
    """
    from popk.storage import check_place, load

    paper = paper or Paper()
    fitted = load(fit_file(run))
    place = check_place(out or run / _REPORT)
    advice = {path: load(path) for path in sorted(run.glob("advice_*.nc"))}
    for path, tree in advice.items():
        for what in ("model", "data"):
            if tree.attrs[f"fit_{what}_hash"] != fitted.attrs[f"{what}_hash"]:
                raise CommandError(
                    f"{path} was made from another fit than {run / FIT}: the {what} differs. "
                    "Run popk individualise again, or move the file away."
                )
    trees = sorted(advice.values(), key=lambda tree: float(tree.attrs["target"]))

    from popk.reporting import report as compose

    console = open_console()
    checks = diagnosed({"": fitted}, console, seed=seed)[""] if paper.checks else None
    page = compose(fitted, trees, checks=checks, title=paper.title, question=paper.question)
    write_page(page, place, paper, console)


def diagnosed(
    fits: Mapping[str, xr.DataTree], console: Console, *, seed: int
) -> dict[str, xr.DataTree]:
    """The checks of each fit, with a bar while they are computed."""
    from popk.diagnostics import diagnose

    found = {}
    for name, fit in fits.items():
        with track(console, f"checks of {name}" if name else "checks") as bar:
            found[name] = diagnose(fit, seed=seed, progress=bar)
    return found


def write_page(page: Page, place: Path, paper: Paper, console: Console) -> None:
    """Write a page and what was asked for beside it; say where."""
    written = [str(page.write(place))]
    if paper.files:
        folder = place.with_name(f"{place.stem}_files")
        tables = page.write_tables(folder / "tables")
        figures = page.write_figures(folder / "figures")
        written.append(f"{folder} ({len(tables)} tables, {len(figures)} figures)")
    print_plain(console, f"Written: {' and '.join(written)}.")
    # Last: without a browser everything else is there.
    if paper.pdf:
        print_plain(console, f"Written: {page.write_pdf(place.with_suffix('.pdf'))}.")
