"""Results on disk: one netCDF file per result with a checksum beside it, written all or nothing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from popk.digests import digest_of_values
from popk.errors import PopkError

__all__ = [
    "StorageError",
    "check_place",
    "checksum",
    "load",
    "read_sealed",
    "read_text",
    "save",
    "sidecar_line",
    "sidecar_of",
    "write_atomically",
    "write_sealed",
]

_SEAL = "checksum"  # of all other fields of a JSON file
_IN_MEMORY = 1 << 29  # bytes of a result, up to which its file is put together in memory


class StorageError(PopkError):
    """A stored result that cannot be read or written; the text says why and what to do."""


def write_atomically(path: str | os.PathLike[str], write: Callable[[Path], object]) -> Path:
    """Have `write` fill a temporary file in the same folder, then give it its final name.

    The file is flushed to the disk before it is renamed. When `write` fails or is interrupted,
    the temporary file is removed and what stood under `path` before is untouched.

    Parameters
    ----------
    path
        The final name; its folder must exist.
    write
        Called with the temporary path, which it creates.

    Raises
    ------
    StorageError
        When the folder does not exist or `path` is a folder.
    OSError
        When it cannot be written; its ``filename`` is `path`.
    """
    path = check_place(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as fault:
        fault.filename = os.fspath(path)  # else the temporary name, or none
        raise
    finally:
        partial.unlink(missing_ok=True)
    return path


def check_place(path: str | os.PathLike[str]) -> Path:
    """`path`, when a file can stand there: ask before long work whose result goes there.

    Raises
    ------
    StorageError
        When the folder does not exist or `path` is a folder.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise StorageError(f"The folder {path.parent} does not exist. Make it, then save again.")
    if path.is_dir():
        raise StorageError(f"{path} is a folder; a file's name was expected.")
    return path


def checksum(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(
    tree: xr.DataTree,
    path: str | os.PathLike[str],
    *,
    announce: Callable[[str], object] = lambda digest: None,
) -> Path:
    """Write a result of popk as netCDF, and its SHA-256 beside it in ``<name>.sha256``.

    The checksum file has the form that ``sha256sum --check`` reads. An interrupted save leaves
    no half-written file under `path`; when it replaces an older result in that moment, `load`
    refuses the pair rather than mistake one for the other.

    Parameters
    ----------
    tree
        A fit or advice; attributes are strings and numbers only.
    path
        Where to write, usually ending in ``.nc``; the folder must exist.
    announce
        Called with the file's SHA-256 when it is known, before the file has its name.

    Raises
    ------
    StorageError
        When the folder does not exist or `path` is a folder.
    """

    def write(partial: Path) -> None:
        _write_netcdf(tree, partial)
        digest = checksum(partial)
        announce(digest)
        line = sidecar_line(digest, path)
        write_atomically(sidecar_of(path), lambda file: file.write_text(line, encoding="utf-8"))

    return write_atomically(path, write)


def _write_netcdf(tree: xr.DataTree, partial: Path) -> None:
    """Write a tree so that a disk that is full is an OSError.

    HDF5 keeps what it could not write and tries again when the process ends, which then can crash:
    it does not see the disk, or only when there is room.
    """
    if tree.nbytes <= _IN_MEMORY:
        partial.write_bytes(tree.to_netcdf(engine="h5netcdf"))
        return
    if hasattr(os, "posix_fallocate"):
        with partial.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, tree.nbytes)
    tree.to_netcdf(partial, engine="h5netcdf")


def load(path: str | os.PathLike[str]) -> xr.DataTree:
    """Read back what :func:`save` wrote, into memory, after checking it against its checksum.

    Raises
    ------
    StorageError
        When there is no such file, its checksum is missing or differs, or it is no netCDF.
    """
    path = Path(path)
    if not path.is_file():
        raise StorageError(f"There is no file {path}.")
    sidecar = sidecar_of(path)
    if not sidecar.is_file():
        raise StorageError(
            f"{path} has no checksum beside it ({sidecar.name}), so it cannot be told whether it "
            "is whole. Restore that file, or write the result again."
        )
    digest, line = checksum(path), sidecar.read_bytes()
    if line[:64] != digest.encode():
        raise StorageError(
            f"{path} is not the file that was written: its SHA-256 differs from {sidecar.name}. "
            "It was damaged, changed, or its writing was interrupted. Restore it, or write the "
            "result again."
        )
    if line != sidecar_line(digest, path).encode():
        raise StorageError(
            f"{sidecar} does not read as popk wrote it (the checksum, two spaces, {path.name}): it "
            "was damaged, or the file was renamed. Restore it, or put the name right in it."
        )
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            return tree.load()
    # Of a file that others made, the libraries below raise more than OSError.
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as fault:
        raise StorageError(f"{path} cannot be read as netCDF: {fault}.") from fault


def sidecar_of(path: str | os.PathLike[str]) -> Path:
    """The file that holds the checksum of a result."""
    path = Path(path)
    return path.with_name(f"{path.name}.sha256")


def sidecar_line(digest: str, path: str | os.PathLike[str]) -> str:
    """What is written to it."""
    return f"{digest}  {Path(path).name}\n"


def read_text(path: Path, remedy: str) -> str:
    """A text in UTF-8.

    Raises
    ------
    StorageError
        When it is no such text; ``remedy`` says what to do then.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as fault:
        raise StorageError(f"{path} is damaged: {fault}. {remedy}") from fault


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write plain values as JSON, with a digest of them all among them."""
    plain = json.loads(json.dumps(content))  # as it will be read
    sealed = {**content, _SEAL: digest_of_values(plain)}
    text = json.dumps(sealed, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def read_sealed(path: Path, remedy: str, fields: Collection[str] | None = None) -> dict[str, Any]:
    """What `write_sealed` wrote; that of a version of popk that wrote no digest is taken as it is.

    Parameters
    ----------
    path
        The file.
    remedy
        What to do where it is damaged.
    fields
        All that there may be.

    Raises
    ------
    StorageError
        When it is not what was written.
    """
    try:
        content = json.loads(read_text(path, remedy))
    except (ValueError, RecursionError) as fault:
        if isinstance(fault, PopkError):
            raise
        raise StorageError(f"{path} is damaged: {fault}. {remedy}") from fault
    if not isinstance(content, dict):
        raise StorageError(f"{path} is damaged: it holds no fields. {remedy}")
    seal = content.pop(_SEAL, None)
    if seal is not None and seal != digest_of_values(content):
        raise StorageError(
            f"{path} is damaged: its values are not those that were written. {remedy}"
        )
    if fields is not None and (unknown := [name for name in content if name not in fields]):
        raise StorageError(f"{path} is damaged: it has the field {unknown[0]!r}. {remedy}")
    return content
