"""What was found of a folder's files: one line each, and what it all rests on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BAD", "Checked", "State", "Verification"]

type State = Literal["intact", "changed", "missing", "empty", "damaged", "unknown", "additional"]

BAD = frozenset({"changed", "missing", "empty", "damaged", "unknown"})
"""States of a file that is not what was written."""


@dataclass(frozen=True)
class Checked:
    """One file: how it is, held against what, and a sentence where that is not all.

    ``state`` is ``intact``; ``changed``, ``missing``, ``empty`` or ``damaged``; ``unknown``, a file
    that has the name of one that popk writes, but is not known; or ``additional``, any other.
    """

    file: str
    state: State
    against: str = ""
    words: str = ""


@dataclass(frozen=True, repr=False)
class Verification:
    """What `popk.verify` found.

    Parameters
    ----------
    folder
        What was looked at.
    kind
        ``run``, ``fit`` (without a run), ``study`` or ``batch``.
    files
        Each file that is known, missing ones too, and those that are not.
    faults
        Sentences on what is wrong beyond single files.
    notes
        Sentences on what is not wrong.
    head
        What to keep elsewhere: the hash of the journal's last line, or of the manifest; None where
        there is neither.
    vouched
        Whether something would show that files and their checksums were changed together.
    """

    folder: Path
    kind: str
    files: tuple[Checked, ...]
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    head: str | None = None
    vouched: bool = True

    @property
    def damages(self) -> tuple[str, ...]:
        """A sentence for everything that is not what was written."""
        return (*self.faults, *(one.words for one in self.files if one.state in BAD))

    @property
    def intact(self) -> bool:
        """Whether every byte that popk wrote is what it wrote, as far as can be told."""
        return not self.damages

    @property
    def words(self) -> str:
        """The answer in words, and what it cannot say."""
        known = sum(one.state != "additional" for one in self.files)
        if not self.intact:
            count = len(self.damages)
            what = "one thing is" if count == 1 else f"{count} things are"
            return f"NOT INTACT: in {self.folder} {what} not as popk wrote it."
        if not self.vouched:
            return (
                f"Not contradicted: {known} files in {self.folder} go with their checksums, but "
                "there is no journal from the beginning to hold them against. Files that were "
                "changed together with their checksums would not show."
            )
        return f"Intact: {known} files in {self.folder} are as popk wrote them."

    @property
    def limits(self) -> str:
        """What cannot be found where nothing was."""
        if self.head is None or not self.vouched or not self.intact:
            return ""
        whole = "the whole journal" if self.kind == "run" else "the manifest with all checksums"
        return (
            f"Whoever rewrites {whole} anew is not found by it. Keep this hash elsewhere, where "
            f"the folder's owner cannot change it, and compare it with --expect: {self.head}"
        )

    def within(self, folder: str) -> Verification:
        """The same, seen from the folder above."""
        moved = (replace(one, file=f"{folder}/{one.file}") for one in self.files)
        return replace(
            self,
            files=tuple(moved),
            faults=tuple(f"{folder}: {fault}" for fault in self.faults),
            notes=tuple(f"{folder}: {note}" for note in self.notes),
        )

    def to_frame(self) -> pd.DataFrame:
        """A row for each file: file, state, against, words."""
        import pandas as pd

        rows = [vars(one) for one in self.files]
        return pd.DataFrame(rows, columns=["file", "state", "against", "words"])

    def __str__(self) -> str:
        return "\n".join(filter(None, [self.words, *self.damages, *self.notes, self.limits]))

    def __repr__(self) -> str:
        return str(self)


@dataclass
class Findings:
    """Findings on the way to a `Verification`: the worst that was found of each file counts."""

    files: dict[str, Checked] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, found: Checked) -> None:
        """Take one in."""
        before = self.files.get(found.file)
        if before is None or before.state == "additional":
            self.files[found.file] = found
        elif found.state == "additional":
            return
        else:
            against = "; ".join(dict.fromkeys(filter(None, (before.against, found.against))))
            worse = before if before.state in BAD else found  # the first sentence says it
            self.files[found.file] = replace(worse, against=against)

    def extend(self, found: Iterable[Checked]) -> None:
        """Take several in."""
        for one in found:
            self.add(one)

    def ordered(self) -> tuple[Checked, ...]:
        """By name, additional ones last."""
        known = self.files.values()
        return tuple(sorted(known, key=lambda one: (one.state == "additional", one.file)))
