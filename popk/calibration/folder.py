"""A calibration's folder: what it is of, one small file for each replicate, and a lock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr

from popk.calibration.setting import Calibration
from popk.dataset import Dataset
from popk.inference.method import as_values, from_values
from popk.inference.runs import environment, versions
from popk.inference.runs.lock import locked
from popk.model import PopModel
from popk.storage import StorageError, load, read_sealed, save, write_atomically, write_sealed

__all__ = ["done", "opened", "read_replicate", "read_setting", "write_replicate"]

_DESCRIPTION, _MODEL, _ANALYSED = "sbc.json", "model.json", "fitted_model.json"
_DESIGN, _SOURCE, _REPLICATES, _LOCK = "design.nc", "source.nc", "replicates", "lock"
_FORMAT = 1


@contextmanager
def opened(folder: Path, setting: Calibration) -> Iterator[None]:
    """Hold the folder for a calibration: a new one, or the same to go on with it.

    Raises
    ------
    StorageError
        When it holds another calibration, or another process works in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / _LOCK):
        if (folder / _DESCRIPTION).exists():
            _refuse_other(folder, setting)
        else:
            _write_setting(folder, setting)
        (folder / _REPLICATES).mkdir(exist_ok=True)
        yield


def done(folder: Path, replicates: int) -> list[int]:
    """Numbers below ``replicates`` of those that are there."""
    return [k for k in range(replicates) if _place(folder, k).is_file()]


def write_replicate(folder: Path, content: dict[str, Any]) -> None:
    """Write what is kept of a replicate, whole or not at all."""
    write_sealed(_place(folder, content["replicate"]), content)


def read_replicate(folder: Path, number: int) -> dict[str, Any]:
    """What was kept of a replicate.

    Raises
    ------
    StorageError
        When the file is damaged.
    """
    remedy = "Remove it: the same command then makes it again."
    return read_sealed(_place(folder, number), remedy)


def read_setting(folder: Path) -> Calibration:
    """What the folder's calibration is of."""
    content = _json(folder / _DESCRIPTION, "Give another folder.")
    own = content["setting"]
    source = load(folder / _SOURCE) if (folder / _SOURCE).exists() else None
    model, analysed = (
        PopModel.from_json((folder / name).read_text(encoding="utf-8"))
        for name in (_MODEL, _ANALYSED)
    )
    nothing = float("nan")
    return Calibration(
        model=model, analysed=analysed, source=source,
        design=Dataset.from_xarray(load(folder / _DESIGN).to_dataset()),
        method=from_values(content["method"]), seed=own["seed"],
        ranks=own["number of draws to rank among"],
        interval=nothing if own["interval"] is None else own["interval"],
        target=nothing if own["target"] is None else own["target"],
    )  # fmt: skip


def _refuse_other(folder: Path, setting: Calibration) -> None:
    content = _json(folder / _DESCRIPTION, "Give another folder.")
    if content.get("format") != _FORMAT:
        raise StorageError(
            f"{folder} was written by another version of popk (format {content.get('format')}, not "
            f"{_FORMAT}). Go on with that version, or give another folder."
        )
    before, now = content["setting"], setting.described
    different = [f"the {name}" for name in now if before.get(name) != now[name]]
    if different:
        raise StorageError(
            f"{folder} holds another calibration: it differs in {', '.join(different)}. Replicates "
            "of the two cannot be counted together: give another folder, or remove that one."
        )


def _write_setting(folder: Path, setting: Calibration) -> None:
    """The description last: where it is, the rest is."""
    if (folder / "run.json").exists() or (folder / "fit.nc").exists():
        raise StorageError(f"{folder} holds a fit. Give a calibration a folder of its own.")
    _write_text(folder / _MODEL, setting.model.to_json())
    _write_text(folder / _ANALYSED, setting.analysed.to_json())
    save(xr.DataTree(setting.design.to_xarray()), folder / _DESIGN)
    if setting.source is not None:
        save(setting.source, folder / _SOURCE)
    content = {
        "kind": "popk calibration",
        "format": _FORMAT,
        "model_name": setting.model.name,
        "setting": setting.described,
        "method": as_values(setting.method),
        "versions": versions(),
        "environment": environment(),
    }
    _write_text(folder / _DESCRIPTION, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _write_text(place: Path, text: str) -> None:
    write_atomically(place, lambda path: path.write_text(text, encoding="utf-8"))


def _place(folder: Path, number: int) -> Path:
    return folder / _REPLICATES / f"{number:06d}.json"


def _json(path: Path, remedy: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise StorageError(f"{path} is damaged: {fault}. {remedy}") from fault
    if not isinstance(found, dict):
        raise StorageError(f"{path} is damaged. {remedy}")
    return found
