"""What a run's conclusions hang on, on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from popk.cli.fitted import FIT, fit_of
from popk.cli.options import CommandError
from popk.cli.outcome import add_written
from popk.cli.output import open_console, print_plain, print_table, track

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["advice_of", "looked", "robustness"]


def robustness(
    run: Path,
    *,
    out: Path | None = None,
    loo_pit: Annotated[bool, Parameter(negative="")] = False,
    draws: int | None = None,
    seed: int = 1,
) -> None:
    """Say what a run's conclusions hang on: its priors, the weight of the data, single patients.

    Example: popk robustness runs/first --out robustness.json

    Parameters
    ----------
    run
        Folder that `popk fit` wrote; what becomes of the intervals is said of all advice in it
    out
        File for the tables: .json, or .csv (sensitivity; influence and intervals go to further
        files beside it)
    loo_pit
        Look at the place of each observation in what all others predict, too; takes minutes
        where the model has no closed form
    draws
        Draws of the population that are used, at most 4,000 without it
    seed
        Seed of the random numbers
    """
    if out is not None and out.suffix not in {".csv", ".json"}:
        raise CommandError(f"--out is {out}; expected a file ending in .csv or .json.")
    from popk.storage import check_place

    if out is not None:
        check_place(out)
    fitted = fit_of(run)
    advice = advice_of(run, fitted)

    from popk.reporting import (
        influence_table,
        interval_shift_table,
        moved_interval_table,
        sensitivity_table,
    )

    console = open_console()
    found = looked(fitted, advice, loo_pit=loo_pit, draws=draws, seed=seed)
    for name, node in found.children.items():
        notes = json.loads(node.attrs["notes"])
        if name == "influence":
            print_table(console, influence_table(node.to_dataset()), fitted, key=name)
        elif name == "loo_pit":
            print_plain(console, str(node.attrs["verdict"]))
        else:
            if name == "power_scaling":
                print_table(console, sensitivity_table(node), fitted, key="sensitivity")
            if "intervals" in node.children:
                print_table(console, interval_shift_table(node), fitted, key="intervals")
                if (moved := moved_interval_table(node)) is not None:
                    print_table(console, moved, fitted, key="moved_intervals")
        for note in notes:
            print_plain(console, f"  - {note}")
    for note in json.loads(found.attrs["notes"]):
        print_plain(console, f"  - {note}")
    if out is not None:
        written = _write(found, out)
        add_written(*written)
        print_plain(console, f"Written: {', '.join(map(str, written))}.")


def advice_of(run: Path, fitted: xr.DataTree) -> list[xr.DataTree]:
    """All advice in a run's folder, in the order of its targets; that of another fit is refused."""
    from popk.storage import load

    found = []
    for path in sorted(run.glob("advice_*.nc")):
        tree = load(path)
        for what in ("model", "data"):
            if tree.attrs[f"fit_{what}_hash"] != fitted.attrs[f"{what}_hash"]:
                raise CommandError(
                    f"{path} was made from another fit than {run / FIT}: the {what} differs. "
                    "Run popk individualise again, or move the file away."
                )
        found.append(tree)
    return sorted(found, key=lambda tree: float(tree.attrs["target"]))


def looked(
    fit: xr.DataTree,
    advice: Sequence[xr.DataTree],
    *,
    usual: bool = True,
    loo_pit: bool,
    draws: int | None = None,
    seed: int,
    name: str = "",
) -> xr.DataTree:
    """What `popk.robustness` gives, with a bar while it is computed."""
    from popk.sensitivity import USUAL, robustness

    which = (*(USUAL if usual else ()), *(("loo_pit",) if loo_pit else ()))
    with track(open_console(), f"robustness of {name}" if name else "robustness") as bar:
        return robustness(fit, advice, which=which, draws=draws, seed=seed, progress=bar)


def _write(found: xr.DataTree, out: Path) -> list[Path]:
    from popk.storage import write_atomically

    frames = dict(_frames(found))
    if out.suffix == ".json":
        about = ("model_name", "model_hash", "data_hash", "popk_version", "seed")
        content = {name: found.attrs[name] for name in about}
        content["notes"] = {
            name or "robustness": json.loads(node.attrs["notes"])
            for name, node in {"": found, **found.children}.items()
        }
        tables = {
            name: json.loads(frame.to_json(orient="records")) for name, frame in frames.items()
        }
        text = json.dumps(content | tables, indent=2, ensure_ascii=False) + "\n"
        return [write_atomically(out, lambda path: path.write_text(text, encoding="utf-8"))]
    written = []
    for name, frame in frames.items():
        place = out if name == "sensitivity" else out.with_name(f"{out.stem}_{name}.csv")
        written.append(write_atomically(place, partial(_csv, frame)))
    return written


def _csv(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path, index=False, lineterminator="\n")


def _frames(found: xr.DataTree) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each table in full precision, by the name of its file."""
    from popk.reporting import influence_table, interval_shift_frame, sensitivity_table

    for name, node in found.children.items():
        if name == "influence":
            yield name, influence_table(node.to_dataset()).to_frame()
        elif name == "loo_pit":
            yield name, node.to_dataset().to_dataframe().reset_index()
        else:
            if name == "power_scaling":
                yield "sensitivity", sensitivity_table(node).to_frame()
            if "intervals" in node.children:
                yield f"intervals_{float(node.attrs['target']):g}", interval_shift_frame(node)
