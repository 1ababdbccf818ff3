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
from popk.digests import digest_of_tree
from popk.errors import SettingError
from popk.inference.runs.environment import environment, versions
from popk.inference.runs.interruption import explained, terminable
from popk.inference.runs.lock import locked
from popk.inference.runs.store import FolderStore
from popk.inference.runs.witness import Witness
from popk.journal import JOURNAL, Journal
from popk.model import PopModel
from popk.storage import (
    StorageError,
    checksum,
    load,
    read_text,
    save,
    sidecar_of,
    write_atomically,
)

__all__ = [
    "Description",
    "OpenRun",
    "Run",
    "about_run",
    "begin_or_go_on",
    "discard_run",
    "go_on",
    "state_of",
]

_DESCRIPTION, _MODEL, _DATA, _HISTORY = "run.json", "model.json", "data.nc", "history.json"
_FIT, _VERDICT, _LOCK, _DRAWS = "fit.nc", "verdict.json", "lock", "draws"
_MANIFEST = "manifest.json"  # which `popk fit` writes
_DATA_SUM = sidecar_of(_DATA).name
_READ = (_DESCRIPTION, _MODEL, _DATA, _DATA_SUM, _HISTORY)  # when a run is opened
_OWN = (*_READ, _FIT, sidecar_of(_FIT).name, _VERDICT, _MANIFEST)
_ABOUT = ("model_name", "model_hash", "data_hash", "seed", "method", "versions")
_FORMAT = 1
_REMEDY = "Restore it from a copy, or begin anew in another folder."


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
        self._witness = Witness(folder)
        (folder / _DRAWS).mkdir(exist_ok=True)
        self.store = FolderStore(
            folder / _DRAWS, seconds=seconds, say=say, note=self._note,
            written=self._witness.drawn, left_out=self._witness.left_out,
        )  # fmt: skip
        self.history = _history(folder / _HISTORY)
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
        text = _as_json(self.history)
        self._witness.open({_HISTORY: text}, _chunks(folder), again=len(self.history) > 1)
        _write_text(folder / _HISTORY, text)

    @property
    def resumed(self) -> list[Any]:
        """Where the run went on after each interruption that came after the first draws."""
        return [one["resumed_at"] for one in self.history if one["resumed_at"] is not None]

    def fit(self) -> xr.DataTree | None:
        """The fit, when the run has been finished; a damaged one is None, which is said."""
        if not (self.folder / _FIT).exists():
            return None
        try:
            if not self._witness.vouches(_FIT):
                raise StorageError(f"{self.folder / _FIT} is not the fit that {JOURNAL} has.")
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
        self._write_verdict_again(fit)
        return fit

    def finish(self, fit: xr.DataTree) -> None:
        """Write the fit and its verdict."""
        verdict = _verdict(fit)
        digests = {"draws": digest_of_tree(fit, "/posterior"), "values": digest_of_tree(fit)}

        def announce(digest: str) -> None:
            self._witness.finish(_FIT, digest, {_VERDICT: verdict}, **digests)

        save(fit, self.folder / _FIT, announce=announce)
        _write_text(self.folder / _VERDICT, verdict)

    def _write_verdict_again(self, fit: xr.DataTree) -> None:
        """Where it is not that of the fit."""
        path, text = self.folder / _VERDICT, _verdict(fit)
        if path.is_file() and path.read_bytes() == text.encode():
            return
        self._say(f"{path} is not the verdict of {_FIT}: it is written again.")
        self._witness.write(_VERDICT, text)
        _write_text(path, text)

    def _note(self, position: Any) -> None:
        if len(self.history) > 1:
            self.history[-1]["resumed_at"] = position
            text = _as_json(self.history)
            self._witness.write(_HISTORY, text, "goes on")
            _write_text(self.folder / _HISTORY, text)


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
            _hold_against_journal(folder)
            differences = description.differences(_read_description(folder))
            if differences:
                raise StorageError(
                    f"{folder} holds another run: it differs in {', '.join(differences)}. Give "
                    "another folder, or remove that one."
                )
        elif left := _chunks(folder):
            raise StorageError(
                f"{folder} holds draws ({left[0]} and {len(left) - 1} more) of a run that is not "
                f"there: {_DESCRIPTION} is missing. Restore it from a copy, or give another folder."
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
        _hold_against_journal(folder)
        yield OpenRun(folder, _read_description(folder), seconds=run.seconds, say=say)


def discard_run(folder: str | PathLike[str]) -> None:
    """Remove what a run has written to its folder, its fit included; nothing else in it.

    The journal stays: it says what was removed. The manifest of the fit goes too.

    Raises
    ------
    StorageError
        When it is in use.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return
    with locked(folder / _LOCK):
        paths = [
            *sorted((folder / _DRAWS).glob("*.chunk*")),
            *(path for name in _OWN if (path := folder / name).is_file() and _is_own(path)),
        ]
        journal = Journal(folder)
        if journal.exists and paths:
            gone = [path.relative_to(folder).as_posix() for path in paths]
            journal.append("discarded", gone=gone, lasting=True)
        for path in paths:
            path.unlink()


def _is_own(path: Path) -> bool:
    """Not the manifest of a study or a batch."""
    return path.name != _MANIFEST or b'"kind": "popk fit"' in path.read_bytes()


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
    text, sums = model.to_json(), dict[str, str]()
    write_atomically(folder / _MODEL, lambda path: path.write_text(text, encoding="utf-8"))
    save(xr.DataTree(dataset.to_xarray()), folder / _DATA)
    for name in (_MODEL, _DATA, _DATA_SUM):
        sums[name] = checksum(folder / name)
    about = {
        "model_name": model.name,
        "model_hash": model.hash,
        "data_hash": dataset.fingerprint,
        "seed": description.seed,
        "method": description.method,
        "versions": versions(),
    }
    described = _as_json(
        {
            "kind": "popk run",
            "format": _FORMAT,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            **about,
            "environment": environment(),
            "journal": JOURNAL,
        }
    )
    Witness(folder).begin({_DESCRIPTION: described}, sums, about)
    _write_text(folder / _DESCRIPTION, described)


def _hold_against_journal(folder: Path) -> None:
    """Refuse a run whose files are not those that were written; begin a journal where none is."""
    witness = Witness(folder)
    witness.check(_READ)
    if witness.told.entries:
        return
    content = about_run(folder)
    about = {name: content[name] for name in _ABOUT}
    witness.take_over((*_OWN, *_chunks(folder)), about)


def about_run(folder: Path) -> dict[str, Any]:
    """What `run.json` says of a run.

    Raises
    ------
    StorageError
        When it is damaged, or not what the journal has.
    """
    Witness(folder).check([_DESCRIPTION])
    content = _json(folder / _DESCRIPTION)
    if not isinstance(content, dict) or content.get("kind") != "popk run":
        raise StorageError(f"{folder / _DESCRIPTION} does not describe a run. {_REMEDY}")
    if missing := [name for name in _ABOUT if name not in content]:
        raise StorageError(f"{folder / _DESCRIPTION} does not say {missing[0]}. {_REMEDY}")
    return content


def _read_description(folder: Path) -> Description:
    content = about_run(folder)
    if content.get("format") != _FORMAT:
        raise StorageError(
            f"{folder / _DESCRIPTION} was written by another version of popk (format "
            f"{content.get('format')}, not {_FORMAT}). Continue the run with that version."
        )
    table = load(folder / _DATA)
    model = PopModel.from_json(read_text(folder / _MODEL, _REMEDY))
    dataset = Dataset.from_xarray(table.to_dataset())
    for name, own, path in (
        ("model_hash", model.hash, _MODEL),
        ("data_hash", dataset.fingerprint, _DATA),
    ):
        if content[name] != own:
            raise StorageError(
                f"{folder / path} is not what the run was begun with: its hash is not the one in "
                f"{_DESCRIPTION}. {_REMEDY}"
            )
    if not isinstance(content["method"], dict) or not isinstance(content["seed"], int):
        raise StorageError(f"{folder / _DESCRIPTION} has no method or no seed. {_REMEDY}")
    return Description(model, dataset, content["method"], content["seed"])


def _coreless(method: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _coreless(value) if isinstance(value, dict) else value
        for key, value in method.items()
        if key != "cores"
    }


def _chunks(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob(f"{_DRAWS}/*.chunk"))


def _history(path: Path) -> list[dict[str, Any]]:
    found = _json(path) if path.exists() else []
    if not isinstance(found, list) or not all("versions" in one for one in found):
        raise StorageError(f"{path} is damaged. {_REMEDY}")
    return found


def _verdict(fit: xr.DataTree) -> str:
    return _as_json(json.loads(fit.attrs["verdict"]))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as fault:
        raise StorageError(f"{path} is damaged: {fault}. {_REMEDY}") from fault


def _as_json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))
