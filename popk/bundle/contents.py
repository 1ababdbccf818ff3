"""What goes into a bundle, and how it is written: the same run gives the same bytes."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from popk.bundle.means import means_of
from popk.bundle.words import readme
from popk.digests import digest_of_bytes, digest_of_tree
from popk.inference.runs import about_run
from popk.journal import JOURNAL, Journal
from popk.storage import StorageError, check_place, checksum, load, write_atomically
from popk.verification import verify

__all__ = ["FORMAT", "INDEX", "NAMES", "README", "Contents", "contents_of", "write_bundle"]

FORMAT = 1
README, INDEX, FIT = "README.txt", "bundle.json", "fit.nc"
_COPIED = ("run.json", "model.json", "data.nc", "history.json", "verdict.json", JOURNAL)
NAMES = (README, INDEX, *_COPIED)
"""All files that a bundle may hold, in their order."""
_EARLY = (1980, 1, 1, 0, 0, 0)  # the first date that a zip file knows
_PLAIN = 0o100644 << 16  # an ordinary file that its owner writes and all read


@dataclass(frozen=True)
class Contents:
    """The files of a bundle by name, and what is to be said before they are written."""

    files: Mapping[str, bytes]
    warning: str


def contents_of(run: Path) -> Contents:
    """What is to be in the bundle of a finished run.

    Raises
    ------
    StorageError
        When there is no finished run, or its files are not what was written.
    """
    if not (run / FIT).is_file() or not (run / "run.json").is_file():
        raise StorageError(
            f"{run} holds no finished run: a bundle needs its {FIT} and run.json. Finish it with "
            f"popk resume {run}, or fit with popk fit … --out {run}."
        )
    found = verify(run)
    if not found.intact:
        raise StorageError(
            f"{run} is not what was written: {found.damages[0]} popk verify {run} lists all. A "
            "bundle is made of a run that is whole."
        )
    fit, about = load(run / FIT), about_run(run)
    files = {name: (run / name).read_bytes() for name in _COPIED if (run / name).is_file()}
    index = _index(run, fit, about)
    index["files"] = {
        name: {"sha256": digest_of_bytes(content), "bytes": len(content)}
        for name, content in files.items()
    }
    text = json.dumps(index, indent=2, ensure_ascii=False) + "\n"
    subjects = len(json.loads(fit.attrs["subject_hashes"]))
    files = {README: readme(index, subjects).encode(), INDEX: text.encode(), **files}
    return Contents({name: files[name] for name in NAMES if name in files}, _warning(subjects))


def write_bundle(contents: Contents, path: str | os.PathLike[str]) -> str:
    """Write a bundle; gives its SHA-256.

    Nothing is compressed: so the bytes depend on no library, and what is read later is as large as
    the file.

    Raises
    ------
    StorageError
        When the folder does not exist or `path` is a folder.
    """

    def write(partial: Path) -> None:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for name, content in contents.files.items():
                info = zipfile.ZipInfo(name, _EARLY)
                info.create_system, info.external_attr = 3, _PLAIN
                archive.writestr(info, content)

    return checksum(write_atomically(check_place(path), write))


def _index(run: Path, fit: xr.DataTree, about: Mapping[str, Any]) -> dict[str, Any]:
    history = json.loads((run / "history.json").read_text(encoding="utf-8"))
    journal, versions = Journal(run), json.loads(fit.attrs["versions"])
    return {
        "kind": "popk bundle",
        "format": FORMAT,
        **{name: about[name] for name in ("model_name", "model_hash", "data_hash", "seed")},
        "method": about["method"],
        "versions": versions,
        "environment": json.loads(fit.attrs["environment"]),
        "resumed": json.loads(fit.attrs.get("resumed", "[]")),
        "one_version": all(one["versions"] == versions for one in history),
        "expected": {
            "draws": digest_of_tree(fit, "/posterior"),
            "values": digest_of_tree(fit),
            FIT: checksum(run / FIT),
            "journal": journal.read().head if journal.exists else None,
        },
        "means": means_of(fit),
    }


def _warning(subjects: int) -> str:
    patients = "1 patient" if subjects == 1 else f"{subjects} patients"
    return (
        f"The bundle holds the data of {patients} as they were fitted: IDs, doses, times, "
        "concentrations, covariates. Give it only to whom you may give those."
    )
