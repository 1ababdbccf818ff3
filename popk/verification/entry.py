"""Which folder is verified how, and an expected hash."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from popk.errors import SettingError
from popk.journal import Journal
from popk.storage import StorageError
from popk.verification.manifests import kind_of, verify_batch, verify_study
from popk.verification.result import Verification
from popk.verification.run import is_run, verify_run

__all__ = ["verify"]

_LEAST = 16  # digits of a hash


def verify(folder: str | os.PathLike[str], *, expect: str | None = None) -> Verification:
    """Find any byte that is not as popk wrote it, in the folder of a run, a study or a batch.

    A run's files are held against its journal, each line of which carries the hash of the one
    before: a file that was changed together with its checksum and manifest is found all the same. A
    study's files are held against its manifest, and its runs against their journals; a batch's
    against what was taken down with each part. Nothing is changed.

    Who rewrites the whole journal anew is not found by it, but by the hash of its last line
    (``head``), when that is kept elsewhere and given here.

    Parameters
    ----------
    folder
        Of `popk.sample` with ``run=``, `popk fit`, `popk run` or `popk batch`.
    expect
        The hash that was kept, its first 16 digits or more. It may be that of an earlier line: then
        what was written since is held against the journal alone.

    Returns
    -------
    What was found of each file. ``intact`` says whether all is as it was written, ``words`` the
    same in a sentence, ``damages`` has a sentence on each thing that is not.

    Raises
    ------
    StorageError
        When the folder holds nothing that popk wrote.
    SettingError
        When ``expect`` is no hash.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise StorageError(f"There is no folder {folder}.")
    if expect is not None and re.fullmatch(rf"[0-9a-f]{{{_LEAST},64}}", expect) is None:
        raise SettingError(
            f"The expected hash is {expect!r}; give the one that popk verify printed, 64 digits "
            f"of 0-9 and a-f, or the first {_LEAST} of them at least."
        )
    if (kind := kind_of(folder)) == "popk study":
        found = verify_study(folder)
    elif kind == "popk batch":
        found = verify_batch(folder)
    elif is_run(folder):
        found = verify_run(folder)
    else:
        raise StorageError(
            f"{folder} holds no run, study or batch of popk: there is no journal, run.json, fit.nc "
            "or manifest.json in it."
        )
    return found if expect is None else _expected(found, expect)


def _expected(found: Verification, expect: str) -> Verification:
    if found.head is not None and found.head.startswith(expect):
        return replace(found, notes=(*found.notes, f"The hash is the one expected: {found.head}."))
    for entry in Journal(found.folder).read().entries if found.kind == "run" else ():
        if entry.hash.startswith(expect):
            note = (
                f"The expected hash is that of line {entry.number + 1} of the journal "
                f"({entry.event}, {entry.time}): nothing up to there was rewritten. What was "
                "written since is held against the journal alone."
            )
            return replace(found, notes=(*found.notes, note))
    is_ = "there is none" if found.head is None else f"it is {found.head}"
    fault = f"The hash is not the one expected, {expect}: {is_}. Something was rewritten."
    return replace(found, faults=(fault, *found.faults))
