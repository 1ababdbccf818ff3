"""One file held against its digest, and the files that a folder holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from popk.journal import JOURNAL
from popk.storage import checksum, sidecar_line, sidecar_of
from popk.verification.result import Checked

__all__ = ["EMPTY", "against_sidecar", "compared", "is_inside", "listed"]

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_NOT_LISTED = frozenset({"lock", JOURNAL})


def listed(folder: Path) -> Iterator[str]:
    """Names of all files below a folder, without locks, journals and what is being written."""
    for path in sorted(folder.rglob("*")):
        partial = path.name.startswith(".") and path.name.endswith(".partial")
        if path.name not in _NOT_LISTED and not partial and (path.is_file() or path.is_symlink()):
            yield path.relative_to(folder).as_posix()


def is_inside(name: str) -> bool:
    """Whether a name leads to a file of the folder itself."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def compared(folder: Path, name: str, digest: str, against: str, more: str = "") -> Checked:
    """A file held against its digest; ``more`` is said where it is not that file."""
    if not is_inside(name):
        words = f"{against} names {name!r}, which is no file of the folder."
        return Checked(name, "damaged", against, words)
    path = folder / name
    if not path.is_file():
        return Checked(name, "missing", against, _said(f"{name} is missing", against, more))
    if path.stat().st_size == 0 and digest != EMPTY:
        return Checked(name, "empty", against, _said(f"{name} is empty", against, more))
    if checksum(path) != digest:
        words = f"{name} is not the file that was written: its SHA-256 is another"
        return Checked(name, "changed", against, _said(words, against, more))
    return Checked(name, "intact", against)


def against_sidecar(folder: Path, name: str) -> list[Checked]:
    """A result and the checksum beside it."""
    path = folder / name
    beside = sidecar_of(path)
    sidecar = beside.relative_to(folder).as_posix()
    if not beside.is_file():
        words = f"{name} has no checksum beside it ({beside.name})."
        return [Checked(name, "damaged", "", words)]
    digest = beside.read_bytes()[:64].decode("ascii", errors="replace")
    found = [compared(folder, name, digest, f"its checksum, {beside.name}")]
    whole = beside.read_bytes() == sidecar_line(digest, path).encode()
    words = f"{sidecar} does not read as popk wrote it."
    found.append(Checked(sidecar, "intact") if whole else Checked(sidecar, "damaged", "", words))
    return found


def _said(what: str, against: str, more: str) -> str:
    return f"{what} ({against}).{' ' if more else ''}{more}"
