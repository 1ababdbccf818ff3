"""The committed figures belong to this code, or it is said that they do not."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def gate():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import figures_gate

    yield figures_gate
    sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def listed(gate):
    return gate.entries()


@pytest.fixture(scope="module")
def now(gate, listed):
    return gate.parts_now(), gate.models_now(listed)


def test_no_engine_or_model_has_changed_without_new_figures_or_a_word(gate, listed, now):
    assert not (found := gate.faults(listed, *now)), "\n" + "\n".join(found)


def test_the_table_is_that_of_the_list(gate, listed):
    assert (ROOT / gate.PAGE).read_text(encoding="utf-8") == gate.page(listed)


def test_every_file_of_figures_is_listed_with_its_commit(listed):
    files = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "benchmarks").glob("RESULTS*.md")
    }
    files |= {path.relative_to(ROOT).as_posix() for path in ROOT.glob("*/*/RESULTS.md")}
    assert files == {one["file"] for one in listed}
    for one in listed:
        assert one["commit"] in (ROOT / one["file"]).read_text(encoding="utf-8")


@pytest.fixture
def one():
    """A file of figures, made by code that is there."""
    return {
        "file": "figures.md", "what": "something", "made_by": "make them", "commit": "abc1234",
        "parts": {"engine": "e1", "inference": "i1"}, "models": {"drug": "d1"}, "left_at": {},
        "why": "",
    }  # fmt: skip


SAME = ({"engine": "e1", "inference": "i1"}, {"drug": "d1"})


def test_nothing_is_said_where_nothing_changed(gate, one):
    assert gate.faults([one], *SAME) == []
    assert "| nothing | – |" in gate.page([one])


@pytest.mark.parametrize(
    ("parts", "models", "word"),
    [
        ({"engine": "e2"}, {}, "engine (was e1, is e2)"),
        ({"inference": "i2"}, {}, "inference (was i1, is i2)"),
        ({}, {"drug": "d2"}, "the model drug (was d1, is d2)"),
    ],
)
def test_a_change_is_a_fault_until_figures_are_new_or_it_is_said_why_not(
    gate, one, parts, models, word
):
    later = ({**SAME[0], **parts}, {**SAME[1], **models})
    (fault,) = gate.faults([one], *later)
    assert fault.startswith(f"figures.md: {word} changed since")
    assert "make them" in fault

    said = gate.left([one], *later, "only a message changed")
    assert gate.faults(said, *later) == []
    assert "| only a message changed |" in gate.page(said)
    assert "nothing" not in gate.page(said)
    # The next change is a fault again, and going back is none.
    assert gate.faults(said, {**later[0], "engine": "e3"}, later[1])
    assert gate.faults(said, *SAME) == []

    anew = gate.rerun(said, "figures.md", *later, "def5678")
    assert gate.faults(anew, *later) == []
    assert "| commit def5678: " in gate.page(anew)
    assert "| nothing | – |" in gate.page(anew)


def test_a_reason_stays_with_the_change_it_was_given_for(gate, one):
    later = ({**SAME[0], "engine": "e2"}, SAME[1])
    said = gate.left([one], *later, "only a message changed")
    again = gate.left(said, *later, "something else was changed")
    assert again == said


def test_a_reason_is_a_sentence_and_a_file_is_known(gate, one):
    with pytest.raises(SystemExit, match="say in a sentence why"):
        gate.left([one], *SAME, "because")
    with pytest.raises(SystemExit, match=r"other\.md is not in"):
        gate.rerun([one], "other.md", *SAME, "abc")
