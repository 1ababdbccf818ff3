"""Exporting a run."""

from __future__ import annotations

import os
from pathlib import Path

from popk.bundle.contents import contents_of, write_bundle

__all__ = ["export_run"]


def export_run(run: str | os.PathLike[str], path: str | os.PathLike[str]) -> str:
    """Write a finished run as one file from which `popk.repeat_run` makes it again elsewhere.

    It holds the model, **the data of all patients**, the settings, the seed, the versions, the
    journal, the verdict, the digests and means that a repetition is to give, and a README. The
    draws are not in it. The same run gives the same bytes.

    Parameters
    ----------
    run
        Folder of a finished run.
    path
        The file, usually ending in ``.zip``; its folder must exist.

    Returns
    -------
    The SHA-256 of the file: give it to whoever is to repeat the run, by another way.

    Raises
    ------
    StorageError
        When the run is not finished, its files are not what was written (`popk.verify`), or the
        file cannot stand there.
    """
    return write_bundle(contents_of(Path(run)), path)
