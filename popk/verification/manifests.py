"""Folders of a study and of a batch held against their manifests."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from popk.digests import digest_of_values
from popk.storage import StorageError, checksum, read_sealed
from popk.verification.files import compared, listed
from popk.verification.result import Checked, Findings, Verification
from popk.verification.run import is_run, verify_run

__all__ = ["kind_of", "verify_batch", "verify_study"]

_MANIFEST, _COPY, _DONE = "manifest.json", "study.toml", "done"
_PARTS = ("advice", "errors")


def kind_of(folder: Path) -> str:
    """What the manifest in a folder is of: ``popk study``, ``popk batch``, or empty.

    Where it is damaged or missing, what lies beside it tells.
    """
    path = folder / _MANIFEST
    text = path.read_bytes() if path.is_file() else b""
    kinds = {"popk study": b'"popk study"', "popk batch": b'"popk batch"'}
    if found := next((kind for kind, mark in kinds.items() if mark in text), ""):
        return found
    if (folder / _COPY).is_file():
        return "popk study"
    return "popk batch" if all((folder / name).is_dir() for name in (*_PARTS, _DONE)) else ""


def verify_study(folder: Path) -> Verification:
    """Hold the files of a study against its manifest, and its runs against their journals."""
    found, vouched = Findings(), True
    content = _sealed(folder, _MANIFEST, "popk run of the study file makes it again.", found)
    try:
        named = [
            (name, digest) for step in content["steps"].values() for name, digest in _files(step)
        ]
    except (KeyError, TypeError, AttributeError):
        named = []
        words = f"{_MANIFEST} is damaged: it names no steps."
        found.add(Checked(_MANIFEST, "damaged", "its own checksum", words))
    for name, digest in named:
        found.add(compared(folder, name, digest, _MANIFEST))
    found.extend(_copy_of_study(folder, content))
    for own in sorted(path for path in folder.iterdir() if path.is_dir() and is_run(path)):
        one = verify_run(own).within(own.name)
        found.extend(one.files)
        found.faults += one.faults
        found.notes += one.notes
        vouched = vouched and one.vouched
    for name in listed(folder):
        if name not in found.files:
            found.add(Checked(name, "additional"))
    head = checksum(folder / _MANIFEST) if (folder / _MANIFEST).is_file() else None
    return Verification(
        folder, "study", found.ordered(), tuple(found.faults), tuple(found.notes), head, vouched
    )


def _sealed(folder: Path, name: str, remedy: str, found: Findings) -> dict[str, Any]:
    """The values of a JSON file that holds a digest of them, and what is found of it."""
    against = "its own checksum"
    try:
        content = read_sealed(folder / name, remedy)
    except FileNotFoundError:
        found.add(Checked(name, "missing", against, f"{name} is missing. {remedy}"))
    except StorageError as fault:
        found.add(Checked(name, "damaged", against, str(fault)))
    else:
        found.add(Checked(name, "intact", against))
        return content
    return {}


def _files(step: dict[str, Any]) -> list[tuple[str, str]]:
    return [(str(name), str(digest)) for name, digest in step["files"].items()]


def _copy_of_study(folder: Path, content: dict[str, Any]) -> list[Checked]:
    """The copy of the study file, whose text the manifest has the SHA-256 of."""
    wanted, path = (content.get("study") or {}).get("sha256"), folder / _COPY
    if wanted is None:
        return []
    if not path.is_file():
        return [Checked(_COPY, "missing", _MANIFEST, f"{_COPY} is missing ({_MANIFEST}).")]
    # As it was read: line ends do not count.
    text = path.read_text(encoding="utf-8", errors="replace").encode()
    if hashlib.sha256(text).hexdigest() == wanted:
        return [Checked(_COPY, "intact", _MANIFEST)]
    words = f"{_COPY} is not the file that was carried out ({_MANIFEST})."
    return [Checked(_COPY, "changed", _MANIFEST, words)]


def verify_batch(folder: Path) -> Verification:
    """Hold the parts of a batch against the digests that were taken down with each."""
    found, seals = Findings(), dict[str, str]()
    remedy = "The same command makes it again once it is removed."
    _sealed(folder, _MANIFEST, remedy, found)
    paths = sorted((folder / _DONE).glob("*.json"))
    for path in paths:
        name = path.relative_to(folder).as_posix()
        content = _sealed(folder, name, remedy, found)
        try:
            found.extend(_part(folder, content))
        except (KeyError, TypeError, ValueError):
            words = f"{name} is damaged: it is of no part."
            found.add(Checked(name, "damaged", "its own checksum", words))
    for path in (folder / _MANIFEST, *paths):
        if path.is_file():
            seals[path.relative_to(folder).as_posix()] = checksum(path)
    numbers = sorted(int(path.stem) for path in paths if path.stem.isdecimal())
    gaps = sorted(set(range(numbers[-1] + 1 if numbers else 0)) - set(numbers))
    if gaps:
        found.notes.append(
            f"Parts are not done, or their files in {_DONE} were removed: "
            f"{', '.join(map(str, gaps[:10]))}{' …' if len(gaps) > 10 else ''}."
        )
    for name in listed(folder):
        if name not in found.files:
            found.add(Checked(name, "additional"))
    return Verification(
        folder, "batch", found.ordered(), tuple(found.faults), tuple(found.notes),
        digest_of_values(seals),
    )  # fmt: skip


def _part(folder: Path, content: dict[str, Any]) -> list[Checked]:
    number, sums = int(content["part"]["number"]), content["sha256"]
    against = f"{_DONE}/{number:06d}.json"
    found = []
    for kind in _PARTS:
        there = sorted((folder / kind).glob(f"part-{number:06d}.*"))
        name = there[0].name if there else f"part-{number:06d}"
        found.append(compared(folder, f"{kind}/{name}", str(sums[kind]), against))
    return found
