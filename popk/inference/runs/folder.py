"""A run's folder: what is fitted to what and how, who works on it, what became of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike, getpid
from pathlib import Path
from typing import Any

import xarray as xr

from popk.dataset import Dataset
from popk.errors import SettingError
from popk.inference.runs.environment import environment, versions
from popk.inference.runs.interruption import explained, terminable
from popk.inference.runs.lock import locked
from popk.inference.runs.store import FolderStore
from popk.model import PopModel
from popk.storage import StorageError, load, save, write_atomically

__all__ = ["Description", "OpenRun", "Run", "begin_or_go_on", "discard_run", "go_on", "state_of"]

_DESCRIPTION, _MODEL, _DATA, _HISTORY = "run.json", "model.json", "data.nc", "history.json"
_FIT, _VERDICT, _LOCK, _DRAWS = "fit.nc", "verdict.json", "lock", "draws"
_FORMAT = 1


@dataclass(frozen=True)
class Run:
    """A folder that a fit is written to while it is sampled, and continued from.

    Parameters
    ----------
    folder
        The folder; made if needed.
    seconds
        Draws are written after so many seconds (at least), so an interruption costs no more. Draws
        do not depend on it.

    Raises
    ------
    SettingError
        When ``seconds`` is below zero.
    """

    folder: str | PathLike[str]
    seconds: float = 5.0

    def __post_init__(self) -> None:
        if not self.seconds >= 0:
            raise SettingError(f"Run was given seconds={self.seconds!r}; expected 0 or more.")


@dataclass(frozen=True)
class Description:
    """What is fitted to what, how: ``method`` is its name and settings, as plain values."""

    model: PopModel
    dataset: Dataset
    method: dict[str, Any]
    seed: int

    def differences(self, other: Description) -> list[str]:
        """What another run has otherwise; cores do not count, as no result depends on them."""
        found = []
        if self.model.hash != other.model.hash:
            found.append("the model")
        if self.dataset.fingerprint != other.dataset.fingerprint:
            found.append("the data")
        if _coreless(self.method) != _coreless(other.method):
            found.append("the method or its settings")
        if self.seed != other.seed:
            found.append(f"the seed ({self.seed}, not {other.seed})")
        return found


class OpenRun:
    """A run's folder that this process alone works on.

    Attributes: ``folder``, ``description``, ``store`` for the method, and ``history``, one entry
    for each time that the run was begun or continued.
    """

    def __init__(
        self,
        folder: Path,
        description: Description,
        *,
        seconds: float,
        say: Callable[[str], None],
    ) -> None:
        self.folder, self.description = folder, description
        self._say = say
        (folder / _DRAWS).mkdir(exist_ok=True)
        self.store = FolderStore(folder / _DRAWS, seconds=seconds, say=say, note=self._note)
        self.history = _json(folder / _HISTORY) if (folder / _HISTORY).exists() else []
        before = self.history[-1]["versions"] if self.history else versions()
        if before != versions():
            changed = [name for name, own in versions().items() if own != before.get(name)]
            say(
                f"{folder} was begun with other versions of {', '.join(changed)}: what follows is "
                "a draw of the same posterior, but not the one that would have been made then."
            )
        self.history.append(
            {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "process": getpid(),
                "versions": versions(),
                "environment": environment(),
                "resumed_at": None,
            }
        )
        _write_json(folder / _HISTORY, self.history)

    @property
    def resumed(self) -> list[Any]:
        """Where the run went on after each interruption that came after the first draws."""
        return [one["resumed_at"] for one in self.history if one["resumed_at"] is not None]

    def fit(self) -> xr.DataTree | None:
        """The fit, when the run has been finished; a damaged one is None, which is said."""
        if not (self.folder / _FIT).exists():
            return None
        try:
            fit = load(self.folder / _FIT)
        except StorageError as fault:
            self._say(f"{fault} It is made again from the draws in {_DRAWS}.")
            return None
        mine = (self.description.model.hash, self.description.dataset.fingerprint)
        if (fit.attrs.get("model_hash"), fit.attrs.get("data_hash")) != mine:
            raise StorageError(
                f"{self.folder / _FIT} is a fit of another model or other data than the run. "
                "Move it away, or give another folder."
            )
        return fit

    def finish(self, fit: xr.DataTree) -> None:
        """Write the fit and its verdict."""
        save(fit, self.folder / _FIT)
        _write_json(self.folder / _VERDICT, json.loads(fit.attrs["verdict"]))

    def _note(self, position: Any) -> None:
        if len(self.history) > 1:
            self.history[-1]["resumed_at"] = position
            _write_json(self.folder / _HISTORY, self.history)


def state_of(folder: str | PathLike[str]) -> str:
    """What a folder holds: ``"nothing"``, an ``"unfinished"`` run, or a ``"finished"`` fit."""
    folder = Path(folder)
    if (folder / _FIT).exists():
        return "finished"
    return "unfinished" if (folder / _DESCRIPTION).exists() else "nothing"


@contextmanager
def begin_or_go_on(
    run: Run, description: Description, say: Callable[[str], None]
) -> Iterator[OpenRun]:
    """Open the folder for a run: a new one, or the same one to continue it.

    Raises
    ------
    StorageError
        When the folder holds another run, a fit of unknown origin, or is in use.
    """
    folder = Path(run.folder)
    if (folder / _FIT).exists() and not (folder / _DESCRIPTION).exists():
        raise StorageError(
            f"{folder} holds a fit that no run folder belongs to. Give another folder, or move "
            f"{_FIT} away."
        )
    folder.mkdir(parents=True, exist_ok=True)
    with _opened(folder, say):
        if (folder / _DESCRIPTION).exists():
            differences = description.differences(_read_description(folder))
            if differences:
                raise StorageError(
                    f"{folder} holds another run: it differs in {', '.join(differences)}. Give "
                    "another folder, or remove that one."
                )
        else:
            _write_description(folder, description)
        yield OpenRun(folder, description, seconds=run.seconds, say=say)


@contextmanager
def go_on(run: Run, say: Callable[[str], None]) -> Iterator[OpenRun]:
    """Open the folder of a run that was begun.

    Raises
    ------
    StorageError
        When there is none, it is damaged or in use.
    """
    folder = Path(run.folder)
    if not (folder / _DESCRIPTION).is_file():
        raise StorageError(
            f"{folder} holds no run ({_DESCRIPTION} is not there). Begin one with "
            "popk.sample(..., run=...) or popk fit ... --out."
        )
    with _opened(folder, say):
        yield OpenRun(folder, _read_description(folder), seconds=run.seconds, say=say)


def discard_run(folder: str | PathLike[str]) -> None:
    """Remove what a run has written to its folder, its fit included; nothing else in it.

    Raises
    ------
    StorageError
        When it is in use.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return
    with locked(folder / _LOCK):
        for path in (folder / _DRAWS).glob("*.chunk*"):
            path.unlink()
        for name in (_FIT, _DATA, _DESCRIPTION, _MODEL, _HISTORY, _VERDICT):
            (folder / name).unlink(missing_ok=True)
            (folder / f"{name}.sha256").unlink(missing_ok=True)


@contextmanager
def _opened(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    with locked(folder / _LOCK) as left_behind:
        if left_behind:
            say(left_behind)
        with terminable(), explained(folder):
            yield


def _write_description(folder: Path, description: Description) -> None:
    """``run.json`` last: where it is, the rest is."""
    model, dataset = description.model, description.dataset
    text = model.to_json()
    write_atomically(folder / _MODEL, lambda path: path.write_text(text, encoding="utf-8"))
    save(xr.DataTree(dataset.to_xarray()), folder / _DATA)
    _write_json(
        folder / _DESCRIPTION,
        {
            "kind": "popk run",
            "format": _FORMAT,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "model_name": model.name,
            "model_hash": model.hash,
            "data_hash": dataset.fingerprint,
            "seed": description.seed,
            "method": description.method,
            "versions": versions(),
            "environment": environment(),
        },
    )


def _read_description(folder: Path) -> Description:
    content = _json(folder / _DESCRIPTION)
    if content.get("format") != _FORMAT:
        raise StorageError(
            f"{folder / _DESCRIPTION} was written by another version of popk (format "
            f"{content.get('format')}, not {_FORMAT}). Continue the run with that version."
        )
    table = load(folder / _DATA)
    model = PopModel.from_json((folder / _MODEL).read_text(encoding="utf-8"))
    dataset = Dataset.from_xarray(table.to_dataset())
    for name, own, path in (
        ("model_hash", model.hash, _MODEL),
        ("data_hash", dataset.fingerprint, _DATA),
    ):
        if content[name] != own:
            raise StorageError(
                f"{folder / path} is not what the run was begun with: its hash is not the one in "
                f"{_DESCRIPTION}. Restore it from a copy, or begin anew in another folder."
            )
    return Description(model, dataset, content["method"], content["seed"])


def _coreless(method: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _coreless(value) if isinstance(value, dict) else value
        for key, value in method.items()
        if key != "cores"
    }


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise StorageError(
            f"{path} is damaged: {fault}. Restore it from a copy, or begin anew in another folder."
        ) from fault


def _write_json(path: Path, content: Any) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))
