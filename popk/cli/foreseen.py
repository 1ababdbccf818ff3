"""How good a run's forecasts are, on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from popk.cli.fitted import fit_of, patients_for, trough_of
from popk.cli.options import CommandError, Reading, parse_weeks
from popk.cli.outcome import add_written
from popk.cli.output import open_console, print_plain, print_table, track

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["forecast"]


def forecast(  # noqa: PLR0913
    run: Path,
    data: str | None = None,
    *,
    out: Path | None = None,
    target: float | None = None,
    probability: float = 0.9,
    weeks: str = "4:8",
    most: int | None = None,
    future_covariates: Annotated[bool, Parameter(negative="")] = False,
    refit: Annotated[bool, Parameter(negative="--no-refit")] = True,
    seed: int = 1,
    reading: Reading | None = None,
) -> None:
    """Forecast every observation from none, one, two, ... earlier samples; score the forecasts.

    Example: popk forecast runs/first new.csv --target 10 --out scores.csv

    Parameters
    ----------
    run
        Folder that `popk fit` wrote
    data
        Data file of new patients; without it those of the fit, each left out of it in turn
    out
        File for the scores, .csv; every forecast goes to a second file beside it, decisions to a
        third
    target
        Trough to hold, in the concentration unit of the fit: judges the decisions as well
    probability
        Probability with which to hold it
    weeks
        Candidate intervals: 4:8 (both ends included) or 4,5,6
    most
        Use at most so many samples of a patient
    future_covariates
        Covariates recorded after the last sample used are known; otherwise they stay as they were
    refit
        Refit without a patient of the fit who cannot be weighed away
    seed
        Seed of the random numbers
    """
    if out is not None and out.suffix != ".csv":
        raise CommandError(f"--out is {out}; expected a file ending in .csv.")
    candidates = parse_weeks(weeks)
    from popk.storage import check_place

    if out is not None:
        check_place(out)
    fitted = fit_of(run)
    people = None if data is None else patients_for(fitted, data, reading)
    wanted = None if target is None else trough_of(fitted, target)

    from popk.comparison import evaluate_forecasts
    from popk.reporting import decision_table, forecast_table

    console = open_console()
    with track(console, "patients") as progress:
        found = evaluate_forecasts(
            fitted, people, target=wanted, probability=probability, weeks=candidates, most=most,
            future_covariates=future_covariates, refit=refit, seed=seed, progress=progress,
        )  # fmt: skip
    print_table(console, forecast_table(found), key="scores")
    if wanted is not None:
        print_table(console, decision_table(found), key="decisions")
    print_plain(console, found.attrs["words"])
    for note in json.loads(found.attrs["notes"]):
        print_plain(console, f"  - {note}")
    if out is not None:
        written = _write(found, out)
        add_written(*written)
        print_plain(console, f"Written: {', '.join(map(str, written))}.")


def _write(found: xr.DataTree, out: Path) -> list[Path]:
    from popk.comparison import forecast_frame
    from popk.storage import write_atomically

    def place(group: str) -> Path:
        return out if group == "scores" else out.with_name(f"{out.stem}_{group}.csv")

    def written(group: str) -> Path:
        frame = forecast_frame(found, group)
        return write_atomically(place(group), lambda path: frame.to_csv(path, lineterminator="\n"))

    groups = ("scores", "forecasts", "decisions", "decision_scores")
    return [written(group) for group in groups if group in found.children]
