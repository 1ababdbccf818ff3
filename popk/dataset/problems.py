"""What is wrong with a table, collected in full before anything is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from popk.errors import PopkError

__all__ = ["DataError", "Problem", "Problems", "Severity"]

Severity = Literal["error", "warning"]

_SHOWN = 5  # lines of one and the same problem before the rest is counted


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: what was found, where, and what to do.

    `row` counts as the user sees it: lines of a file, its header being row 1 (so the first
    record is row 2); positions from 1 in a data frame.
    """

    message: str
    severity: Severity
    row: int | None = None
    id: str | None = None
    column: str | None = None
    remedy: str = ""

    @property
    def where(self) -> str:
        """The place in words, for example ``row 7, ID 1, column DV``; empty for the whole table."""
        parts = (("row", self.row), ("ID", self.id), ("column", self.column))
        return ", ".join(f"{word} {value}" for word, value in parts if value is not None)

    def to_text(self) -> str:
        """One line: where, what, what to do."""
        place = f"{self.where}: " if self.where else ""
        return f"{self.severity}: {place}{' '.join(filter(None, (self.message, self.remedy)))}"

    def __str__(self) -> str:
        return self.to_text()


class Problems:
    """Collects problems while a table is read; :meth:`raise_if_errors` ends the reading.

    Parameters
    ----------
    source
        What was read, in the user's words (a file's name, "the data frame").
    row_note
        A sentence saying how rows are counted, printed once when a row is named.
    """

    def __init__(self, source: str = "the table", *, row_note: str = "") -> None:
        self.source = source
        self.row_note = row_note
        self._found: list[Problem] = []

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that forbid using the table."""
        return tuple(p for p in self._found if p.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The problems a user should know of while the table is used."""
        return tuple(p for p in self._found if p.severity == "warning")

    def add(self, problem: Problem) -> None:
        """Take up one problem."""
        self._found.append(problem)

    def extend(self, problems: Iterable[Problem]) -> None:
        """Take up several problems."""
        self._found.extend(problems)

    def error(
        self,
        message: str,
        remedy: str = "",
        *,
        row: int | None = None,
        id: str | None = None,  # noqa: A002 - the field's name for a subject
        column: str | None = None,
    ) -> None:
        """Add an error: the table will be refused."""
        self.add(Problem(message, "error", row, id, column, remedy))

    def warn(
        self,
        message: str,
        remedy: str = "",
        *,
        row: int | None = None,
        id: str | None = None,  # noqa: A002 - the field's name for a subject
        column: str | None = None,
    ) -> None:
        """Add a warning: the table is accepted and the warning kept with it."""
        self.add(Problem(message, "warning", row, id, column, remedy))

    def to_text(self) -> str:
        """All problems as plain text, one line each, long runs of one problem shortened."""
        return render(self._found, self.source, row_note=self.row_note)

    def raise_if_errors(self) -> None:
        """Raise :class:`DataError` with everything found when at least one is an error."""
        if self.errors:
            raise DataError(tuple(self._found), self.source, self.row_note)


class DataError(PopkError):
    """A table that cannot be used; its text lists everything found at once.

    Attributes
    ----------
    problems
        Every :class:`Problem` found, warnings included.
    """

    def __init__(
        self, problems: Iterable[Problem], source: str = "the table", row_note: str = ""
    ) -> None:
        self.problems = tuple(problems)
        self.source = source
        self.row_note = row_note
        super().__init__(self.problems, source, row_note)

    def to_text(self) -> str:
        """All problems as plain text, one line each."""
        return render(self.problems, self.source, row_note=self.row_note)

    def __str__(self) -> str:
        return self.to_text()


def render(problems: Iterable[Problem], source: str, *, row_note: str = "") -> str:
    """Plain text of all problems: a headline, then one line each, errors first.

    Problems of one kind (same severity, column and remedy) stand together; after five of
    them the others are counted.
    """
    found = sorted(problems, key=lambda p: (p.severity != "error", p.row is not None))
    kinds: dict[tuple[str, str | None, str], list[Problem]] = {}
    for problem in found:
        kinds.setdefault((problem.severity, problem.column, problem.remedy), []).append(problem)
    lines = [_headline(found, source)]
    if row_note and any(p.row is not None for p in found):
        lines.append(row_note)
    for group in kinds.values():
        lines += [f"  {problem.to_text()}" for problem in group[:_SHOWN]]
        rest = group[_SHOWN:]
        if rest:
            lines.append(f"  … and {_more(rest)}")
    return "\n".join(lines)


def _headline(problems: list[Problem], source: str) -> str:
    errors = sum(p.severity == "error" for p in problems)
    warnings = len(problems) - errors
    counts = [_count(errors, "error")] if errors else []
    counts += [_count(warnings, "warning")] if warnings else []
    verdict = "cannot be used" if errors else "can be used"
    return f"{source} {verdict}: {' and '.join(counts) or 'nothing was found'}."


def _more(rest: list[Problem]) -> str:
    noun = "row" if all(p.row is not None for p in rest) else "place"
    column = f" in column {rest[0].column}" if rest[0].column else ""
    return f"{len(rest)} more {noun}{'s' if len(rest) > 1 else ''} with the same problem{column}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
