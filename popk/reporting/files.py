"""The tables of a report as CSV, its figures as SVG."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from popk.reporting.figures import Picture
from popk.reporting.parts import Section, pictures_of, tables_of
from popk.storage import write_atomically

__all__ = ["write_figures", "write_tables"]


def write_tables(sections: Sequence[Section], folder: Path) -> list[Path]:
    """Write every table as CSV into a folder, which is made; names start with their number."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        write_atomically(
            folder / f"{number:02d}-{section.anchor}-{_plain(table.title)}.csv",
            partial(_write_csv, table.to_frame()),
        )
        for number, (section, table) in enumerate(tables_of(sections), start=1)
    ]


def write_figures(sections: Sequence[Section], folder: Path) -> list[Path]:
    """Write every figure as SVG into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        write_atomically(folder / f"{number:02d}-{own.name}.svg", partial(_write_svg, own))
        for number, own in enumerate(pictures_of(sections), start=1)
    ]


def _write_csv(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path, index=False, lineterminator="\n")


def _write_svg(own: Picture, path: Path) -> None:
    path.write_text(own.to_svg(), encoding="utf-8")


def _plain(title: str, most: int = 40) -> str:
    """A title as part of a file's name."""
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return words if len(words) <= most else words[:most].rsplit("-", 1)[0]
