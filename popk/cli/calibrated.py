"""Simulation-based calibration on the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from os import cpu_count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from popk.catalogue import find_model
from popk.cli.fitted import fit_of
from popk.cli.options import UNSURE, CommandError, Reading, Sampling, read
from popk.cli.outcome import add_message, add_written, emit
from popk.cli.output import open_console, print_plain, print_table, track

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from rich.console import Console

    from popk.dataset import Dataset
    from popk.inference import Method

__all__ = ["sbc"]

_TREE = "sbc.nc"


def sbc(  # noqa: PLR0913
    model: str | None = None,
    design: str | None = None,
    *,
    out: Path,
    from_: Annotated[Path | None, Parameter(name="--from")] = None,
    fitted_model: str | None = None,
    replicates: int = 200,
    processes: int | None = None,
    target: float | None = None,
    interval: float | None = None,
    ranks: int = 200,
    reading: Reading | None = None,
    sampling: Sampling | None = None,
) -> int:
    """Check that a model's posteriors are calibrated: simulate, fit and rank many times.

    Example: popk sbc natalizumab design.csv --out calibration --replicates 200

    Parameters
    ----------
    model
        Name of a model that comes with popk (natalizumab), a JSON file of one, or a Python file
        that defines `model`; FILE.py:NAME takes another name from it
    design
        Event table as for popk fit: doses, times of observation, covariates; DV is not used and
        may be empty
    out
        Folder for the replicates, tables and figures; the same command goes on where it was
        interrupted, and adds replicates
    from_
        Folder of a converged fit: calibration given its data, instead of MODEL and DESIGN. Its
        draws generate the replicates, each of which is fitted together with its data
    fitted_model
        Model to fit, if not the one that simulates
    replicates
        How many
    processes
        Replicates at a time, each with one thread; one for each processor without it
    target
        Trough to reach, in the model's unit; without it one that half of the patients reach
    interval
        Time from the last dose to the predicted trough, in the model's unit; without it the usual
        interval
    ranks
        Nearly independent draws of each fit to rank the truth among, at most
    """
    sampling = sampling or Sampling()
    given = _given(model, design, from_)
    console = open_console()

    # Slow to import, and not needed to refuse what was given above.
    from popk.calibration import sbc as calibrated

    what: dict[str, Any] = {}
    if from_ is not None:
        what["fit"] = fit_of(from_)
    else:
        what["model"] = find_model(given[0])
        reading = reading or Reading()
        what["design"] = _read_design(given[1], reading, what["model"].units.to_dict())
    if fitted_model is not None:
        what["fitted_model"] = find_model(fitted_model)
    with track(console, "replicates") as bar:
        found = calibrated(
            **what, replicates=replicates, method=_method(sampling), seed=sampling.seed,
            ranks=ranks, interval=interval, target=target, folder=out, progress=bar,
            processes=processes or cpu_count() or 1,
        )  # fmt: skip
    _show(console, found, out)
    return 0 if found.attrs["calibrated"] else UNSURE


def _given(model: str | None, design: str | None, source: Path | None) -> tuple[str, str]:
    if source is not None and (model is not None or design is not None):
        raise CommandError(
            "A fit brings its own model and data: give --from RUN, or MODEL and DESIGN, not both."
        )
    if source is None and (model is None or design is None):
        raise CommandError(
            "popk sbc needs a model and a design, popk sbc MODEL DESIGN --out FOLDER; or a fit, "
            "popk sbc --from RUN --out FOLDER."
        )
    return model or "", design or ""


def _method(sampling: Sampling) -> Method:
    """The method asked for; of the default one, the few draws that ranks need."""
    from popk.calibration.simulated import USUAL

    if sampling.by == "marginal":
        draws = USUAL.draws if sampling.draws is None else sampling.draws
        return replace(sampling, draws=draws).method()
    if sampling.by == "map":
        raise CommandError("--by map finds one point, among which nothing can be ranked.")
    return sampling.method()


def _read_design(design: str, reading: Reading, units: dict[str, str]) -> Dataset:
    """The design's data set; where observations have no DV, a placeholder stands in for it."""
    import pandas as pd

    # What is wrong with the file itself the reader says better.
    try:
        frame = pd.read_csv(design, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError):
        return read(design, reading, units)
    called = dict(pair.partition("=")[::2] for pair in reading.column or [])
    return read(design if (own := _filled(frame, called)) is None else own, reading, units)


def _filled(frame: pd.DataFrame, called: dict[str, str]) -> pd.DataFrame | None:
    """The table with a DV on every record with EVID 0; None where all have one."""
    from popk.dataset.source import MISSING

    names = {str(name).strip().upper(): name for name in frame.columns}

    def column(name: str) -> list[str]:
        found = names.get(called.get(name, name).strip().upper())
        return [""] * len(frame) if found is None else [x.strip() for x in frame[found].tolist()]

    rows = zip(*map(column, ("EVID", "DV", "LLOQ")), strict=True)
    values = [
        (_above(limit) if dv in MISSING and evid in {"0", "0.0"} else dv)
        for evid, dv, limit in rows
    ]
    if values == column("DV"):
        return None
    name = called.get("DV", "DV")
    return frame.assign(**{str(names.get(name.strip().upper(), name)): values})


def _above(limit: str) -> str:
    """A value that is quantified."""
    try:
        return f"{2 * float(limit):g}"
    except ValueError:
        return "1"


def _show(console: Console, found: xr.DataTree, out: Path) -> None:
    """Print the verdict, the tables and what to know; write them and the figure."""
    from popk.calibration import calibration_frame, rank_frame, reliability_frame
    from popk.reporting import calibration_table, reliability_table
    from popk.storage import save, write_atomically

    style = "bold green" if found.attrs["calibrated"] else "bold red"
    emit("calibrated", bool(found.attrs["calibrated"]))
    add_message(found.attrs["words"])
    console.print(found.attrs["words"], style=style, markup=False, soft_wrap=True)
    for note in json.loads(found.attrs["notes"]):
        print_plain(console, f"  - {note}")
    frames = {"sbc.csv": calibration_frame(found).reset_index(), "ranks.csv": rank_frame(found)}
    if found["summary"].sizes["quantity"]:
        print_table(console, calibration_table(found), key="calibration")
    if "reliability" in found:
        print_table(console, reliability_table(found), key="reliability")
        frames["reliability.csv"] = reliability_frame(found)
    save(found, out / _TREE)
    for name, frame in frames.items():
        write_atomically(out / name, partial(frame.to_csv, index=False, lineterminator="\n"))
    written = [_TREE, *frames, *_draw(found, out)]
    add_written(*(out / name for name in written))
    print_plain(console, f"Written to {out}: {', '.join(written)}.")


def _draw(found: xr.DataTree, out: Path) -> list[str]:
    """Write the figure, where there is something to draw; gives the files' names."""
    if not found["summary"].sizes["quantity"]:
        return []
    from popk.plots import plot_calibration
    from popk.storage import write_atomically

    figure = plot_calibration(found)
    drawn = partial(figure.savefig, format="svg", metadata={"Date": None})
    write_atomically(out / "ecdf.svg", drawn)
    write_atomically(out / "ecdf.png", partial(figure.savefig, format="png", dpi=150))
    return ["ecdf.svg", "ecdf.png"]
