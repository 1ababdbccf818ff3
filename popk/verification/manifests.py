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

    A damaged manifest is known by its first words, which is all that can be said of it.
    """
    path = folder / _MANIFEST
    if not path.is_file():
        return ""
    text = path.read_bytes()
    kinds = {"popk study": b'"popk study"', "popk batch": b'"popk batch"'}
    return next((kind for kind, mark in kinds.items() if mark in text), "")


def verify_study(folder: Path) -> Verification:
    """Hold the files of a study against its manifest, and its runs against their journals."""
    found, steps, vouched = Findings(), {}, True
    try:
        content = read_sealed(folder / _MANIFEST, "popk run of the study file makes it again.")
        steps = content["steps"]
        named = [(name, digest) for step in steps.values() for name, digest in _files(step)]
    except (StorageError, KeyError, TypeError, AttributeError) as fault:
        words = str(fault) if isinstance(fault, StorageError) else f"{_MANIFEST} is damaged."
        found.add(Checked(_MANIFEST, "damaged", "its own checksum", words))
        named, content = [], {}
    else:
        found.add(Checked(_MANIFEST, "intact", "its own checksum"))
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
    head = checksum(folder / _MANIFEST)
    return Verification(
        folder, "study", found.ordered(), tuple(found.faults), tuple(found.notes), head, vouched
    )


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
    paths = [folder / _MANIFEST, *sorted((folder / _DONE).glob("*.json"))]
    for path in paths:
        name = path.relative_to(folder).as_posix()
        seals[name] = checksum(path)
        try:
            content = read_sealed(path, "The same command makes it again once it is removed.")
            found.add(Checked(name, "intact", "its own checksum"))
            if path != paths[0]:
                found.extend(_part(folder, content))
        except (StorageError, KeyError, TypeError, ValueError) as fault:
            words = str(fault) if isinstance(fault, StorageError) else f"{name} is damaged."
            found.add(Checked(name, "damaged", "its own checksum", words))
    numbers = sorted(int(path.stem) for path in paths[1:] if path.stem.isdecimal())
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
