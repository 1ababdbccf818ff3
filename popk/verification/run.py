"""A run's folder held against its journal, or, where it has none, against its checksums."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from popk.journal import JOURNAL, Journal, Known, Told
from popk.storage import StorageError, checksum, load, read_text
from popk.verification.files import against_sidecar, compared, listed
from popk.verification.result import Checked, Findings, Verification

__all__ = ["is_run", "verify_run"]

_RUN, _FIT, _MODEL, _DATA, _MANIFEST = (
    "run.json", "fit.nc", "model.json", "data.nc", "manifest.json",
)  # fmt: skip
_OWN = frozenset(
    {
        _RUN, _FIT, f"{_FIT}.sha256", _MODEL, _DATA, f"{_DATA}.sha256", "history.json",
        "verdict.json",
    }
)  # fmt: skip
_CHUNK = re.compile(r"draws/.+-\d{6}-(?P<digest>[0-9a-f]{16})\.chunk")
_CUT_SHORT = (
    "The last line of the journal announces it, and it is as before: it was put back, or the "
    "process ended in that moment. Then the command that was interrupted, given again, writes it."
)


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run or a fit."""
    return any((folder / name).is_file() for name in (JOURNAL, _RUN, _FIT))


def verify_run(folder: Path) -> Verification:
    """Hold the files of a run against its journal."""
    found, told = Findings(), Journal(folder).read()
    if not Journal(folder).exists:
        return _without(folder, found)
    found.faults += [*told.faults, *filter(None, [told.torn])]
    found.notes += told.notes
    files = told.files
    for name, known in files.items():
        found.add(_of_journal(folder, name, known, told))
    for name in listed(folder):
        if name not in files:
            found.add(_not_in_journal(folder, name))
    found.faults += _begun(folder, told)
    taken = told.last("taken over")
    if taken is not None:
        found.notes.append(
            f"The journal was begun {taken.time}, when the run was there already: what happened "
            "before is not in it."
        )
    return Verification(
        folder, "run", found.ordered(), tuple(found.faults), tuple(found.notes), told.head,
        vouched=taken is None,
    )  # fmt: skip


def _of_journal(folder: Path, name: str, known: Known, told: Told) -> Checked:
    against = f"{JOURNAL}, line {known.line}"
    path, more = folder / name, ""
    if path.is_file():
        old = told.is_announced(known) and checksum(path) == known.earlier
        more = _CUT_SHORT if old else ""
    elif told.is_announced(known) and known.earlier is None:
        more = _CUT_SHORT
    elif (folder / f"{name}.damaged").is_file():
        more = f"It was set aside as {name}.damaged; popk resume {folder} makes it again."
    return compared(folder, name, known.digest, against, more)


def _not_in_journal(folder: Path, name: str) -> Checked:
    if name in _OWN:
        words = (
            f"{name} is not in {JOURNAL}: something else wrote it. "
            f"popk resume {folder} makes again what belongs there."
        )
        return Checked(name, "unknown", JOURNAL, words)
    if (match := _CHUNK.fullmatch(name)) is not None:
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if not digest.startswith(match["digest"]):
            words = f"{name} is damaged: its SHA-256 is not the one in its name."
            return Checked(name, "damaged", "its name", words)
        words = "Whole, but not in the journal yet, as when a process is killed in that moment."
        return Checked(name, "additional", "its name", words)
    return Checked(name, "additional")


def _begun(folder: Path, told: Told) -> list[str]:
    """What is wrong with how the journal begins."""
    begins = {"begun", "taken over"}
    if told.entries and told.entries[0].event not in begins:
        return [f"{JOURNAL} does not begin with a run."]
    taken = told.entries and told.entries[0].event == "taken over"
    if taken and _speaks_of_journal(folder):
        return [f"{JOURNAL} is not the one that {_RUN} speaks of: that one was taken away."]
    return []


def _speaks_of_journal(folder: Path) -> bool:
    try:
        content = json.loads(read_text(folder / _RUN, ""))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "journal" in content


def _without(folder: Path, found: Findings) -> Verification:
    """Of versions of popk that kept no journal, or of a fit on its own."""
    run = (folder / _RUN).is_file()
    if _speaks_of_journal(folder):
        found.faults.append(f"{JOURNAL} is missing: {_RUN} says that there is one.")
    names = list(listed(folder))
    for name in names:
        if name.endswith(".nc"):
            found.extend(against_sidecar(folder, name))
        elif _CHUNK.fullmatch(name) is not None:
            found.add(_not_in_journal(folder, name))
    if run:
        found.extend(_described(folder))
    found.extend(_of_manifest(folder))
    for name in names:
        if name not in found.files:
            found.add(Checked(name, "additional", "", "Nothing to hold it against."))
    found.notes.append(
        f"There is no {JOURNAL}: the run was made by a version of popk that kept none."
        if run
        else f"There is no {JOURNAL}: this is a fit without a run."
    )
    return Verification(
        folder, "run" if run else "fit", found.ordered(), tuple(found.faults), tuple(found.notes),
        None, vouched=False,
    )  # fmt: skip


def _described(folder: Path) -> list[Checked]:
    """Model and data held against the hashes in `run.json`."""
    from popk.dataset import Dataset
    from popk.errors import PopkError
    from popk.model import PopModel

    def model() -> str:
        return PopModel.from_json(read_text(folder / _MODEL, "")).hash

    def data() -> str:
        return Dataset.from_xarray(load(folder / _DATA).to_dataset()).fingerprint

    try:
        content = json.loads(read_text(folder / _RUN, ""))
        hashes = content["model_hash"], content["data_hash"]
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        return [Checked(_RUN, "damaged", "", f"{_RUN} is damaged: {fault}.")]
    found = []
    for name, own, wanted in zip((_MODEL, _DATA), (model, data), hashes, strict=True):
        against = f"the hash in {_RUN}"
        try:
            whole = own() == wanted
            words = f"{name} is not what the run was begun with: its hash is not the one in {_RUN}."
        except (PopkError, OSError, StorageError) as fault:
            whole, words = False, f"{name} is damaged: {fault}"
        found.append(
            Checked(name, *(("intact", against) if whole else ("damaged", against, words)))
        )
    return found


def _of_manifest(folder: Path) -> list[Checked]:
    """The fit held against the manifest of `popk fit`."""
    path = folder / _MANIFEST
    if not path.is_file():
        return []
    try:
        sums = dict(json.loads(read_text(path, ""))["sha256"])
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        return [Checked(_MANIFEST, "damaged", "", f"{_MANIFEST} is damaged: {fault}.")]
    return [compared(folder, name, str(digest), _MANIFEST) for name, digest in sums.items()]
