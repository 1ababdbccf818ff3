"""Results on disk: one netCDF file per result with a checksum beside it, written all or nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import xarray as xr

from popk.errors import PopkError

__all__ = ["StorageError", "check_place", "checksum", "load", "save", "write_atomically"]


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
    """
    path = check_place(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
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


def save(tree: xr.DataTree, path: str | os.PathLike[str]) -> Path:
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

    Raises
    ------
    StorageError
        When the folder does not exist or `path` is a folder.
    """

    def write(partial: Path) -> None:
        tree.to_netcdf(partial, engine="h5netcdf")
        line = f"{checksum(partial)}  {Path(path).name}\n"
        write_atomically(_sidecar(path), lambda file: file.write_text(line, encoding="utf-8"))

    return write_atomically(path, write)


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
    sidecar = _sidecar(path)
    if not sidecar.is_file():
        raise StorageError(
            f"{path} has no checksum beside it ({sidecar.name}), so it cannot be told whether it "
            "is whole. Restore that file, or write the result again."
        )
    words = sidecar.read_text(encoding="utf-8", errors="replace").split()
    if not words or words[0] != checksum(path):
        raise StorageError(
            f"{path} is not the file that was written: its SHA-256 differs from {sidecar.name}. "
            "It was damaged, changed, or its writing was interrupted. Restore it, or write the "
            "result again."
        )
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            return tree.load()
    except (OSError, ValueError, KeyError) as fault:
        raise StorageError(f"{path} cannot be read as netCDF: {fault}.") from fault


def _sidecar(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    return path.with_name(f"{path.name}.sha256")
