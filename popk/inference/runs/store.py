"""Where a method puts what it has done, so that it can go on from there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from popk.inference.runs.chunks import find_chunks, read_chunk, read_series, write_chunk
from popk.inference.runs.packing import canonical
from popk.storage import StorageError

__all__ = ["NOWHERE", "FolderStore", "Nowhere", "Store"]


class Store(Protocol):
    """Keeps results of stages, and series of chunks.

    ``seconds`` is the time after which what was drawn is worth a chunk.
    """

    @property
    def seconds(self) -> float:
        """Time between chunks."""

    def kept[T](self, name: str, make: Callable[[], T], classes: Sequence[type] = ()) -> T:
        """The result of a stage: what is stored, or else what ``make`` makes.

        It is the same to the bit whether it was just made or read. ``classes`` are the dataclasses
        in it.
        """

    def chunks(self, series: str) -> list[Any]:
        """All chunks of a series, in order."""

    def append(self, series: str, value: Any) -> None:
        """One chunk more."""

    def resumed_at(self, position: Any) -> None:
        """Where the run goes on, if it has been interrupted before."""


class Nowhere:
    """Stores nothing."""

    seconds = float("inf")

    def kept[T](self, name: str, make: Callable[[], T], classes: Sequence[type] = ()) -> T:
        """What ``make`` makes."""
        del name
        value: T = canonical(make(), classes)
        return value

    def chunks(self, series: str) -> list[Any]:
        """None."""
        del series
        return []

    def append(self, series: str, value: Any) -> None:
        """Forget it."""

    def resumed_at(self, position: Any) -> None:
        """Forget it."""


NOWHERE = Nowhere()


class FolderStore:
    """Stores in a folder.

    Parameters
    ----------
    folder
        An existing folder.
    seconds
        Time between chunks.
    say
        Told a sentence where something had to be left out.
    note
        Given the position where the run goes on.
    written
        Given each chunk that was written, and its SHA-256.
    left_out
        Given each chunk that is damaged and made again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seconds: float,
        say: Callable[[str], None],
        note: Callable[[Any], None],
        written: Callable[[Path, str], object] = lambda path, digest: None,
        left_out: Callable[[Path], object] = lambda path: None,
    ) -> None:
        self.folder, self.seconds = folder, seconds
        self._say, self._note, self._written, self._left_out = say, note, written, left_out
        self._next: dict[str, int] = {}

    def kept[T](self, name: str, make: Callable[[], T], classes: Sequence[type] = ()) -> T:
        """As `Store.kept`."""
        found = find_chunks(self.folder, name)
        if found:
            try:
                stored: T = read_chunk(found[0], classes)
            except StorageError as fault:
                raise StorageError(
                    f"{fault} Restore it from a copy, or remove it: popk resume then makes it "
                    "again, with the same result on the same machine."
                ) from fault
            return stored
        value = make()
        path = write_chunk(self.folder, name, 0, value, self._written)
        read: T = read_chunk(path, classes)
        return read

    def chunks(self, series: str) -> list[Any]:
        """As `Store.chunks`; a damaged last chunk is left out, which is said."""
        paths = find_chunks(self.folder, series)
        found, left_out = read_series(self.folder, series)
        if left_out:
            self._left_out(paths[-1])
            self._say(left_out)
        self._next[series] = len(found)
        return found

    def append(self, series: str, value: Any) -> None:
        """As `Store.append`."""
        if series not in self._next:
            self._next[series] = len(find_chunks(self.folder, series))
        write_chunk(self.folder, series, self._next[series], value, self._written)
        self._next[series] += 1

    def resumed_at(self, position: Any) -> None:
        """As `Store.resumed_at`."""
        self._note(position)
