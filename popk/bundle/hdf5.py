"""What an HDF5 file of others may not do: refer to other files, or be larger than it looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from popk.storage import StorageError

__all__ = ["check_plain"]

_SPARE = 1 << 20  # bytes


def check_plain(path: Path, name: str) -> None:
    """Refuse links to other files, data kept elsewhere, and data larger than the file.

    Parameters
    ----------
    path
        The file.
    name
        How it is called in the sentence.

    Raises
    ------
    StorageError
        When it is no HDF5 file, or there is any of these in it.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            size = _checked(h5py, file, name, depth=0)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as fault:
        if isinstance(fault, StorageError):
            raise
        raise StorageError(f"{name} cannot be read as netCDF: {fault}.") from fault
    if size > path.stat().st_size + _SPARE:
        raise StorageError(f"{name} unfolds to {size} bytes, more than it has. It is not read.")


def _checked(h5py: Any, group: Any, name: str, *, depth: int) -> int:
    """Bytes of the data in a group."""
    if depth > 8:
        raise StorageError(f"{name} holds groups in groups, deeper than any that popk writes.")
    size = 0
    for key in group:
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise StorageError(f"{name} refers to another place for {key!r}. It is not read.")
        one = group[key]
        if isinstance(one, h5py.Group):
            size += _checked(h5py, one, name, depth=depth + 1)
        elif isinstance(one, h5py.Dataset):
            if one.external or one.is_virtual:
                raise StorageError(f"{name} keeps {key!r} in another file. It is not read.")
            size += int(one.nbytes)
    return size
