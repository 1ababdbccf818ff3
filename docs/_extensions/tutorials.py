"""The notebooks of the repository as tutorials: taken with the outputs they were committed with."""

from __future__ import annotations

import json
from pathlib import Path

from written import toctree, write_pages

INTRODUCTION = """\
# Tutorials

Notebooks of the folder `notebooks/`, executed in full before each release; each begins with the
question that it answers. Open them with Jupyter to change and run them.

"""
NONE = "This copy of popk holds no notebooks. Begin with the [how-to guides](../howto/index.md).\n"


def notebooks(folder: Path) -> list[Path]:
    """The notebooks in `folder`, in the order of their names: 01_first_fit first."""
    return sorted(folder.glob("*.ipynb"))


def has_title(path: Path) -> bool:
    """Whether a notebook begins with a heading, as every page of a site must."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "".join(cells[0]["source"]).lstrip() if cells else ""
    return bool(cells) and cells[0]["cell_type"] == "markdown" and text.startswith("# ")


def write_tutorials(source: Path, folder: Path) -> None:
    """Copy the notebooks of `source` to `folder`, with a page that lists them.

    Raises
    ------
    ValueError
        When a notebook has no title.
    """
    found = notebooks(source)
    if untitled := [path.name for path in found if not has_title(path)]:
        raise ValueError(
            f"notebooks/{untitled[0]} does not begin with a Markdown cell whose first line is a "
            "title (# ...). Begin it with the question it answers."
        )
    listed = toctree([path.stem for path in found]) if found else NONE
    pages: dict[str, str | bytes] = {path.name: path.read_bytes() for path in found}
    for figure in sorted(source.glob("*.png")):
        pages[figure.name] = figure.read_bytes()
    write_pages(folder, {"index.md": INTRODUCTION + listed, **pages})
