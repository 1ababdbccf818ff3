"""The notebooks: executed with their assertions, and kept as a reader should find them.

`make notebooks` executes them too, and rewrites their outputs.
"""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NAMES = sorted(path.name for path in FOLDER.glob("*.ipynb"))
LARGEST = 400_000  # bytes
# Paths of a machine, and what a warning or a bare object looks like. In pieces, as in
# tests/contracts/test_repository.py, so that this file does not hold what it looks for.
MACHINE = re.compile(
    r"(?<![\w.<+/=])/(?:" + "wo" + "rk|ro" + "ot|tm" + r"p|(?:home|Users)/\w+)/|[A-Z]:\\"
)
RAW = re.compile(
    r"<(?:xarray|popk|Figure|Axes|matplotlib|arviz|__main__)[\w. ]|object at 0x|Warning\b"
)


@pytest.fixture(scope="module")
def execute():
    """The module notebooks/execute.py."""
    spec = spec_from_file_location("popk_execute", FOLDER / "execute.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(name):
    return nbformat.read(FOLDER / name, as_version=4)


def code(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def texts(book):
    """Whatever an output shows as text; a picture is not text."""
    for cell in code(book):
        for output in cell.outputs:
            yield output.get("text", "")
            for kind, data in output.get("data", {}).items():
                if kind.startswith("text/"):
                    yield data


def test_there_are_nine_and_the_readme_links_them():
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    assert len(NAMES) == 9
    assert all(f"(notebooks/{name})" in readme for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_begins_with_its_question_and_ends_with_limits(name):
    book = read(name)
    first, last = book.cells[0], book.cells[-1]
    assert first.cell_type == last.cell_type == "markdown"
    title, _, rest = first.source.partition("\n")
    assert title.startswith("# ")
    question = re.match(r"\s*\*\*([^*]+)\*\*", rest)
    assert question is not None
    assert question[1].endswith("?")
    assert "## What was learnt, and its limits" in last.source
    assert last.source.rstrip().endswith("it informs, it does not prescribe.")


@pytest.mark.parametrize("name", NAMES)
def test_its_outputs_are_there_in_order_and_without_errors(name):
    book = read(name)
    assert [cell.execution_count for cell in code(book)] == list(range(1, len(code(book)) + 1))
    kinds = [output.output_type for cell in code(book) for output in cell.outputs]
    assert len(kinds) >= 4
    assert "error" not in kinds
    streams = [o for cell in code(book) for o in cell.outputs if o.output_type == "stream"]
    assert all(stream.name == "stdout" for stream in streams), "warnings"


@pytest.mark.parametrize("name", NAMES)
def test_its_conclusions_are_asserted(name):
    asserted = [line for cell in code(read(name)) for line in cell.source.splitlines()
                if line.strip().startswith("assert ")]  # fmt: skip
    assert len(asserted) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_it_holds_nothing_of_a_machine_and_no_raw_objects(name):
    book = read(name)
    assert set(book.metadata) == {"kernelspec", "language_info"}
    assert book.metadata.kernelspec.name == "python3"
    assert all(not cell.metadata for cell in book.cells)
    for text in [*texts(book), *(cell.source for cell in book.cells)]:
        assert not MACHINE.search(text), MACHINE.search(text)
    for text in texts(book):
        assert not RAW.search(text), RAW.search(text)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_small(name):
    assert (FOLDER / name).stat().st_size < LARGEST


def test_the_patterns_find_what_they_are_for():
    for text in ("/" + "home/ann/x", '"/' + 'tmp/a"', "C:\\x"):
        assert MACHINE.search(text)
    for text in ("<xarray.Dataset> Size", "<Figure size 820x480>", "FutureWarning: no"):
        assert RAW.search(text)
    assert not MACHINE.search("1/root of mg/L")


def outputs(book):
    """What a notebook shows, without pictures, whose bytes may differ between machines."""
    return [
        [(o.output_type, sorted(o.get("data", {}))) for o in cell.outputs] for cell in code(book)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_shows_what_was_committed(name, execute):
    """Its assertions are the test of what it concludes."""
    fresh = execute.executed(FOLDER / name)
    assert outputs(fresh) == outputs(read(name))
