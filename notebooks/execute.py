"""Execute notebooks in a temporary copy of this folder and write their outputs back.

``python notebooks/execute.py`` for all, or with the names of some. A cell that fails stops it, and
the notebook is left as it was.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
SECONDS = 600  # for one cell


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook with fresh outputs, and without what changes from run to run.

    Raises
    ------
    CellExecutionError
        When a cell fails, an assertion for example.
    """
    book = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="popk-notebook-") as folder:
        copy = Path(folder) / "notebooks"
        shutil.copytree(HERE, copy, ignore=shutil.ignore_patterns("*.ipynb", "__pycache__"))
        NotebookClient(
            book, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": copy}}
        ).execute()
    return cleaned(book)


def cleaned(book: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with the kernel's name as its only metadata, cells numbered as they ran."""
    book.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for number, cell in enumerate(book.cells):
        cell.id, cell.metadata = f"cell-{number}", nbformat.NotebookNode()
        for output in cell.get("outputs", ()):
            output.pop("transient", None)
            if "data" in output:
                output.metadata = nbformat.NotebookNode()
                shown = set(output.data) & {"image/png", "text/html"}
                if shown:  # what a figure or a table says of itself where it cannot be shown
                    output.data.pop("text/plain", None)
    return book


def main(names: list[str]) -> None:
    """Execute and write each notebook, and say how long it took."""
    paths = [HERE / name for name in names] or sorted(HERE.glob("*.ipynb"))
    for path in paths:
        began = time.perf_counter()
        nbformat.write(executed(path), path)
        print(f"{path.name}: {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
