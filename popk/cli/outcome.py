"""What a command found, as one JSON document: `--json`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["add_message", "add_table", "add_written", "as_json", "emit", "is_json"]

_FOUND: ContextVar[dict[str, Any] | None] = ContextVar("found", default=None)


@contextmanager
def as_json(command: str) -> Iterator[dict[str, Any]]:
    """Collect what a command finds while the block runs, and print it in the end.

    The document has the keys ``popk`` (version), ``command``, ``exit_code``, ``error`` (a sentence
    or null), ``messages`` (every sentence, in order), ``tables`` (by name: title, note and rows),
    ``written`` (files and folders), and those of the command. The block sets ``exit_code``.
    """
    found: dict[str, Any] = {
        "popk": version("popk"), "command": command, "exit_code": 0, "error": None,
        "messages": [], "tables": {}, "written": [],
    }  # fmt: skip
    token = _FOUND.set(found)
    try:
        yield found
    finally:
        _FOUND.reset(token)
        sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        sys.stdout.flush()


def is_json() -> bool:
    """Whether standard output is for the document alone."""
    return _FOUND.get() is not None


def emit(key: str, value: Any) -> None:
    """Put plain values under a key of the document, where there is one."""
    if (found := _FOUND.get()) is not None:
        found[key] = value


def add_message(text: str) -> None:
    """Add a sentence."""
    if (found := _FOUND.get()) is not None:
        found["messages"].append(text)


def add_written(*paths: str | PathLike[str]) -> None:
    """Add what was written."""
    if (found := _FOUND.get()) is not None:
        found["written"] += [fspath(path) for path in paths]


def add_table(key: str, frame: pd.DataFrame, *, title: str = "", note: str = "") -> None:
    """Add a table in full precision: a record for each row, what is not known as null."""
    if (found := _FOUND.get()) is None:
        return
    rows = json.loads(frame.to_json(orient="records", double_precision=15, date_format="iso"))
    name, number = key, 2
    while name in found["tables"]:
        name, number = f"{key}_{number}", number + 1
    found["tables"][name] = {"title": title, "note": note, "rows": rows}
