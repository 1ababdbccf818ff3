"""What a run tells the journal of its folder, and what it holds against it when it is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from popk.journal import Journal, Told, digest_of_text
from popk.storage import StorageError, checksum, sidecar_line, sidecar_of

__all__ = ["Witness"]


class Witness:
    """The journal of a run's folder.

    Attributes: ``journal``, and ``told``, what it said when the folder was opened.

    Raises
    ------
    StorageError
        When the journal is not what was written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.journal = folder, Journal(folder)
        self.told: Told = self.journal.read()
        if self.told.faults:
            raise StorageError(
                f"{self.journal.path} is damaged: {self.told.faults[0]} popk verify {folder} says "
                "what else is. Restore it from a copy. Or move it away: a new one is begun, which "
                "says so."
            )

    def check(self, names: Iterable[str]) -> None:
        """Refuse files that are not those that were written.

        Raises
        ------
        StorageError
            With the first of them.
        """
        for name in names:
            path, known = self.folder / name, self.told.files.get(name)
            if known is None:
                continue
            right = {known.digest}
            if self.told.is_announced(known):  # it was to be written next
                right.add(known.earlier or known.digest)
                if not path.exists() and known.earlier is None:
                    continue
            if not path.is_file() or checksum(path) not in right:
                raise StorageError(
                    f"{path} is not what was written: {self.journal.path.name}, line {known.line}, "
                    "has another SHA-256. Restore it from a copy, or begin anew in another folder."
                )

    def vouches(self, name: str) -> bool:
        """Whether a file is the one that the journal has; any is, where there was none."""
        if not self.told.entries:
            return True
        known, path = self.told.files.get(name), self.folder / name
        return known is not None and path.is_file() and checksum(path) == known.digest

    def begin(self, texts: Mapping[str, str], sums: Mapping[str, str], about: Any) -> None:
        """Take down what is fitted to what and how: texts to be written next, files there are."""
        files = {**sums, **{name: digest_of_text(text) for name, text in texts.items()}}
        self.journal.append("begun", files=files, lasting=True, **about)

    def take_over(self, names: Iterable[str], about: Any) -> None:
        """Begin a journal for a run that has none, with its files as they are."""
        if self.told.entries:
            return
        there = [name for name in names if (self.folder / name).is_file()]
        sums = {name: checksum(self.folder / name) for name in there}
        self.journal.append("taken over", files=sums, lasting=True, **about)
        self.told = self.journal.read()

    def open(self, texts: Mapping[str, str], chunks: Iterable[str], *, again: bool) -> None:
        """Take down that the run is worked on, with chunks that came and went unseen."""
        present = set(chunks)
        known = {name for name in self.told.files if name.endswith(".chunk")}
        files = {name: checksum(self.folder / name) for name in sorted(present - known)}
        files |= {name: digest_of_text(text) for name, text in texts.items()}
        self.journal.append(
            "resumed" if again else "opened", files=files, gone=known - present, lasting=True
        )

    def write(self, name: str, text: str, event: str = "written") -> None:
        """Take down a text that is written next."""
        self.journal.append(event, files={name: digest_of_text(text)})

    def drawn(self, path: Path, digest: str) -> None:
        """Take down a chunk of draws that was written."""
        self.journal.append("draws", files={self._name(path): digest})

    def left_out(self, path: Path) -> None:
        """Take down that a damaged chunk is not used."""
        self.journal.append("left out", gone=[self._name(path)])

    def finish(self, fit: str, digest: str, texts: Mapping[str, str], **digests: str) -> None:
        """Take down the fit, which is written next, and the digests of what is in it."""
        path = self.folder / fit
        files = {fit: digest, sidecar_of(path).name: digest_of_text(sidecar_line(digest, path))}
        files |= {name: digest_of_text(text) for name, text in texts.items()}
        self.journal.append("finished", files=files, lasting=True, **digests)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()
