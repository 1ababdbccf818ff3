"""Pages that are written from the code and its results before Sphinx reads its sources."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_pages(folder: Path, pages: Mapping[str, str | bytes]) -> None:
    """Make `folder` hold exactly these files; one that has not changed is not touched.

    Parameters
    ----------
    folder
        Made if needed; whatever else lies in it is removed.
    pages
        Text or bytes by file name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.iterdir():
        if stale.is_file() and stale.name not in pages:
            stale.unlink()
    for name, content in pages.items():
        path = folder / name
        data = content.encode() if isinstance(content, str) else content
        if not path.is_file() or path.read_bytes() != data:
            path.write_bytes(data)


def toctree(names: list[str], *, hidden: bool = False) -> str:
    """A table of contents of the pages `names`."""
    lines = ["```{toctree}", ":maxdepth: 1"]
    if hidden:
        lines.append(":hidden:")
    return "\n".join([*lines, "", *names, "```", ""])
