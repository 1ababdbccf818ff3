"""Steps of a study: each is done once from the same inputs, and then read back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xarray as xr

from popk.digests import digest_of_tree, digest_of_values
from popk.storage import load, save
from popk.study.record import Record

__all__ = ["Result", "Steps"]


class Result:
    """What a step gave: its digest, and the tree, read when it is asked for."""

    def __init__(self, digest: str, path: Path, tree: xr.DataTree | None = None) -> None:
        self.digest = digest
        self._path, self._given = path, tree

    @cached_property
    def tree(self) -> xr.DataTree:
        """The result itself."""
        return load(self._path) if self._given is None else self._given


class Steps:
    """Does the steps of a study in a folder, unless they were done before.

    Parameters
    ----------
    record
        What is done; each step is taken down in it.
    say
        Called with a sentence on each step.
    """

    def __init__(self, record: Record, say: Callable[[str], None]) -> None:
        self.record = record
        self.say = say
        self.asked: list[str] = []
        self.done: list[str] = []

    def tree(
        self,
        name: str,
        rests_on: dict[str, Any],
        path: Path,
        make: Callable[[], xr.DataTree],
        *,
        beside: Callable[[xr.DataTree], Sequence[Path]] = lambda tree: (),
        stored: bool = False,
    ) -> Result:
        """A result that is kept as netCDF.

        Parameters
        ----------
        name
            The step's name.
        rests_on
            All that the result depends on, as plain values.
        path
            Its file.
        make
            Computes it.
        beside
            Writes further files and gives their paths.
        stored
            Whether `make` writes the file itself.
        """
        key = self._key(rests_on)
        self.asked.append(name)
        if self.record.holds(name, key):
            self.say(f"{name}: done before from the same inputs, kept.")
            return Result(self.record.steps[name]["digest"], path)
        began = time.perf_counter()
        tree = make()
        if not stored:
            save(tree, path)
        files = [path, path.with_name(f"{path.name}.sha256"), *beside(tree)]
        found = Result(digest_of_tree(tree), path, tree)
        self._note(name, key, found.digest, files, began)
        return found

    def files(
        self,
        name: str,
        rests_on: dict[str, Any],
        make: Callable[[], Sequence[Path]],
    ) -> None:
        """Files that show results; their digest is that of what they show."""
        key = self._key(rests_on)
        self.asked.append(name)
        if self.record.holds(name, key):
            self.say(f"{name}: done before from the same inputs, kept.")
            return
        began = time.perf_counter()
        self._note(name, key, key, make(), began)

    def words(self, name: str, rests_on: dict[str, Any], make: Callable[[], str]) -> str:
        """A result in words, which stands in the manifest."""
        key = self._key(rests_on)
        self.asked.append(name)
        if self.record.holds(name, key):
            self.say(f"{name}: done before from the same inputs, kept.")
            return str(self.record.steps[name]["words"])
        began = time.perf_counter()
        words = make()
        self._note(name, key, digest_of_values(words), (), began, words=words)
        return words

    def _note(
        self,
        name: str,
        key: str,
        digest: str,
        files: Sequence[Path],
        began: float,
        **more: str,
    ) -> None:
        seconds = round(time.perf_counter() - began, 1)
        self.record.note(name, key, digest=digest, files=files, seconds=seconds, **more)
        self.done.append(name)

    def _key(self, rests_on: dict[str, Any]) -> str:
        return digest_of_values({"popk": version("popk"), **rests_on})
