"""Files of a run that are written once, whole or not at all, and carry their checksum in the name.

``proposals-000003-8c1f….chunk`` is the fourth chunk of the series *proposals*; the last part of its
name is the beginning of the SHA-256 of what is in it. Name and content come into being in one
moment, by renaming a temporary file that has been flushed to the disk.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from popk.inference.runs.packing import pack, unpack
from popk.storage import StorageError, write_atomically

__all__ = ["find_chunks", "read_chunk", "read_series", "write_chunk"]

_SHOWN = 16  # digits of the digest that are in a name
_NAME = re.compile(r"(?P<series>.+)-(?P<number>\d{6})-(?P<digest>[0-9a-f]{16})\.chunk")


def write_chunk(
    folder: Path,
    series: str,
    number: int,
    value: Any,
    note: Callable[[Path, str], object] = lambda path, digest: None,
) -> Path:
    """Write one chunk of a series.

    Parameters
    ----------
    folder
        Where; it exists.
    series
        What it is a part of.
    number
        Its place in the series, from 0.
    value
        Anything that `popk.inference.runs.packing.pack` takes.
    note
        Called with the file and its SHA-256 when it is written.
    """
    content = pack(value)
    digest = _digest(content)
    path = folder / f"{series}-{number:06d}-{digest[:_SHOWN]}.chunk"
    write_atomically(path, lambda partial: partial.write_bytes(content))
    note(path, digest)
    return path


def find_chunks(folder: Path, series: str) -> list[Path]:
    """The files of a series, in order.

    Raises
    ------
    StorageError
        When one between the first and the last is missing.
    """
    found: dict[int, Path] = {}
    for path in sorted(folder.glob(f"{series}-*.chunk")):
        match = _NAME.fullmatch(path.name)
        if match is not None and match["series"] == series:
            found[int(match["number"])] = path
    missing = [k for k in range(len(found)) if k not in found]
    if missing:
        later = ", ".join(path.name for number, path in found.items() if number > missing[0])
        raise StorageError(
            f"Chunk {missing[0]} of {series} is missing in {folder}: there are later ones. Put it "
            f"back from a copy, or remove the later ones too ({later}): popk resume then makes "
            "them again."
        )
    return [found[k] for k in sorted(found)]


def read_chunk(path: Path, classes: Sequence[type] = ()) -> Any:
    """What was written to a chunk.

    Raises
    ------
    StorageError
        When it is not what was written.
    """
    content = path.read_bytes()
    match = _NAME.fullmatch(path.name)
    try:
        if match is None or match["digest"] != _digest(content)[:_SHOWN]:
            raise ValueError("its SHA-256 is not the one in its name")
        return unpack(content, classes)
    except ValueError as fault:
        raise StorageError(f"{path} is damaged: {fault}.") from fault


def read_series(folder: Path, series: str) -> tuple[list[Any], str]:
    """All chunks of a series, and a sentence on what was left out (empty if nothing was).

    A damaged chunk is left out, and renamed to end in ``.damaged``, when it is the last one and all
    before it are whole.

    Raises
    ------
    StorageError
        When one before the last is damaged or missing, with what to do.
    """
    paths, found = find_chunks(folder, series), []
    for number, path in enumerate(paths):
        try:
            found.append(read_chunk(path))
        except StorageError as fault:
            if number < len(paths) - 1:
                later = ", ".join(other.name for other in paths[number + 1 :])
                raise StorageError(
                    f"{fault} Restore it from a copy, or remove it and what was made after it "
                    f"({later}): popk resume then makes them again."
                ) from fault
            path.rename(path.with_name(f"{path.name}.damaged"))
            return found, f"{fault} It was the last of its kind: it is left out and made again."
    return found, ""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
