"""Runs side by side on the command line: which model predicts best."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from popk.cli.fitted import fit_of
from popk.cli.options import CommandError
from popk.cli.outcome import emit
from popk.cli.output import open_console, print_plain, print_table, print_written, track
from popk.cli.reported import Paper, computed_for, write_page

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["compare"]


def compare(
    *runs: Path,
    by: Literal["patient", "observation", "future"] = "patient",
    out: Path | None = None,
    refit: Annotated[bool, Parameter(negative="--no-refit")] = True,
    draws: int | None = None,
    seed: int = 1,
    paper: Paper | None = None,
) -> None:
    """Compare runs of the same data by how well they predict what was left out of the fit.

    Example: popk compare runs/one runs/two --by patient --out comparison.html

    Parameters
    ----------
    runs
        Folders that `popk fit` wrote, two or more
    by
        What is predicted: a new patient (patient), another observation of a known patient
        (observation), or each next observation from the patient's earlier ones (future)
    out
        File for the result: .html (a report on the runs and their comparison, with all checks),
        .csv (the table) or .json (with notes and single predictions)
    refit
        Refit without the patients whose influence cannot be weighed away
    draws
        Draws of each run that are used
    seed
        Seed of the random numbers
    """
    _check_out(out, paper)
    names = _names(runs)
    from popk.storage import check_place

    if out is not None:
        check_place(out)
    fits = {name: fit_of(run) for name, run in zip(names, runs, strict=True)}

    from popk.comparison import compare as compared
    from popk.reporting import comparison_table

    console = open_console()
    with track(console, "patients") as bar:
        found = compared(
            fits, by, refit=refit, draws=draws, seed=seed,
            progress=lambda name, done, total: bar(done, total),
        )  # fmt: skip
    print_table(console, comparison_table(found), key="comparison")
    emit("words", found.attrs["words"])
    emit("notes", json.loads(found.attrs["notes"]))
    print_plain(console, found.attrs["words"])
    for note in json.loads(found.attrs["notes"]):
        print_plain(console, f"  - {note}")
    if out is not None and out.suffix == ".html":
        _report(fits, found, out, paper or Paper(), seed)
    elif out is not None:
        _write(found, out)
        print_written(console, out)


def _check_out(out: Path | None, paper: Paper | None) -> None:
    """Refuse a file of another kind, and settings of a page that is not written."""
    if out is not None and out.suffix not in {".csv", ".json", ".html"}:
        raise CommandError(f"--out is {out}; expected a file ending in .html, .csv or .json.")
    if paper not in (None, Paper()) and (out is None or out.suffix != ".html"):
        raise CommandError(
            "--title, --question, --no-checks, --no-robustness, --loo-pit, --forecasts, --files "
            "and --pdf are about a report; give --out FILE.html with them."
        )


def _report(
    fits: dict[str, xr.DataTree], found: xr.DataTree, out: Path, paper: Paper, seed: int
) -> None:
    from popk.reporting import report

    computed = computed_for(fits, (), paper, seed=seed)
    page = report(
        fits,
        checks=computed.checks,
        robustness=computed.robustness,
        forecasts=computed.forecasts,
        comparison=found,
        title=paper.title,
        question=paper.question,
    )
    write_page(page, out, paper, open_console())


def _names(runs: tuple[Path, ...]) -> list[str]:
    """A name for each run: its folder's, the whole path where two are alike."""
    if len(runs) < 2:
        raise CommandError("popk compare needs two runs or more: popk compare RUN RUN.")
    if len(set(runs)) < len(runs):
        twice = next(run for run in runs if runs.count(run) > 1)
        raise CommandError(f"{twice} is given twice.")
    names = [run.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]


def _write(found: xr.DataTree, out: Path) -> None:
    from popk.comparison import comparison_frame
    from popk.storage import write_atomically

    frame = comparison_frame(found)
    if out.suffix == ".csv":
        write_atomically(out, lambda path: frame.to_csv(path, lineterminator="\n"))
        return
    pointwise = found["pointwise"].to_dataset().to_dataframe().reset_index()
    content = {
        "question": found.attrs["question"],
        "unit": found.attrs["unit"],
        "words": found.attrs["words"],
        "notes": json.loads(found.attrs["notes"]),
        "data_hash": found.attrs["data_hash"],
        "model_hashes": json.loads(found.attrs["model_hashes"]),
        "popk_version": found.attrs["popk_version"],
        "comparison": json.loads(frame.reset_index().to_json(orient="records")),
        "pointwise": json.loads(pointwise.to_json(orient="records")),
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(out, lambda path: path.write_text(text, encoding="utf-8"))
