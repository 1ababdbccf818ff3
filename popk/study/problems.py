"""What is wrong with a study file, collected in full: the key, the line, what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from popk.errors import PopkError

__all__ = ["Problems", "StudyError", "nearest"]

_TABLE = re.compile(r"\s*\[\[?([^\]]+)\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"\s*((?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[\w-]+|\"[^\"]*\"))*)\s*=")


class StudyError(PopkError):
    """A study that cannot be carried out as its file stands; the text lists all that is wrong."""


class Problems:
    """Collects sentences about keys of a study file; `raise_if_any` ends the reading.

    Parameters
    ----------
    name
        The file's name, for the headline.
    text
        Its text, in which lines are looked up.
    """

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._lines, self._tables = _lines_of(text)
        self._found: list[str] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, key: Sequence[str], sentence: str) -> None:
        """Take up a sentence about a key, given as its tables and its name."""
        self._found.append(f"{self.place(key)}: {sentence}" if key else sentence)

    def place(self, key: Sequence[str]) -> str:
        """Where a key stands: ``line 7, [data] units``."""
        *tables, name = key
        label = f"[{'.'.join(tables)}] {name}" if tables else name
        if tuple(key) in self._tables:
            label = f"[{'.'.join(key)}]"
        for size in range(len(key), 0, -1):
            line = self._lines.get(tuple(key[:size]))
            if line is not None:
                return f"line {line}, {label}"
        return label

    def raise_if_any(self) -> None:
        """Raise `StudyError` with everything found, when there is anything."""
        if not self._found:
            return
        many = "1 problem" if len(self._found) == 1 else f"{len(self._found)} problems"
        lines = [_indented(sentence) for sentence in dict.fromkeys(self._found)]
        raise StudyError(
            "\n".join([f"{self._name} cannot be carried out: {many}.", *lines, "Nothing was run."])
        )


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that names the known word nearest to an unknown one, else all known ones."""
    words = list(known)
    lower = {word.lower(): word for word in words}
    close = get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    return f"Did you mean {lower[close[0]]}?" if close else f"Known here: {', '.join(words)}."


def _indented(sentence: str) -> str:
    """A sentence of several lines (all that is wrong with a data file) under one mark."""
    return "\n".join(
        f"  {'- ' if at == 0 else '  '}{line}" for at, line in enumerate(sentence.splitlines())
    )


def _lines_of(text: str) -> tuple[dict[tuple[str, ...], int], set[tuple[str, ...]]]:
    """The line of each table's header and each key (the first of several), and the tables."""
    table: tuple[str, ...] = ()
    found: dict[tuple[str, ...], int] = {}
    tables = set()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.fullmatch(line):
            table = _parts(header[1])
            found.setdefault(table, number)
            tables.add(table)
        elif key := _KEY.match(line):
            found.setdefault((*table, *_parts(key[1])), number)
    return found, tables


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
