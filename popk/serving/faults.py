"""What is wrong with what was entered, each with the field that it is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from popk.errors import PopkError

__all__ = ["Fault", "FormError", "Place", "quoted"]

_QUOTED = 30  # characters of what was entered that an answer repeats


class Place(NamedTuple):
    """A field: its name in the form (``doses.1.amount``), and how it is called in words."""

    field: str
    words: str


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Parameters
    ----------
    field
        Name of the field in the form; empty where it is about the whole.
    message
        A sentence that names field and row, what was given, what was expected, what to do.
    """

    field: str
    message: str

    @classmethod
    def at(cls, place: Place, message: str) -> Fault:
        """At a place, whose words begin the sentence."""
        return cls(place.field, f"{place.words}: {message}")

    def to_dict(self) -> dict[str, str]:
        """As the page reads it."""
        return {"field": self.field, "message": self.message}


class FormError(PopkError):
    """Entries that cannot be used; its text has a line for each fault."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(fault.message for fault in self.faults))


def quoted(given: object) -> str:
    """What was entered, shortened and without characters that do not print."""
    text = "".join(c if c.isprintable() else "?" for c in str(given)[: _QUOTED + 1])
    return f"“{text if len(text) <= _QUOTED else text[:_QUOTED] + '…'}”"
