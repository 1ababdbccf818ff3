"""Values to bytes and back, without pickles."""

from dataclasses import dataclass

import numpy as np
import pytest

from popk.inference.runs.packing import canonical, pack, unpack


@dataclass(frozen=True)
class Inner:
    values: np.ndarray
    terms: tuple


@dataclass(frozen=True)
class Outer:
    inner: Inner | None
    count: int
    share: float


def test_nested_values_come_back_to_the_bit():
    rng = np.random.default_rng(1)
    own = Inner(rng.standard_normal((3, 4)).T, ((), (0,), (0, 1)))
    value = {
        "outer": [Outer(own, 3, 0.1 + 0.2), Outer(None, 0, float("-inf"))],
        "flags": np.array([True, False]),
        "names": np.array(["CL", "V"]),
        "empty": np.zeros((0, 2)),
        "scalar": np.float64(1 / 3),
        "text": "ω",
    }
    back = unpack(pack(value), (Outer, Inner))
    first, second = back["outer"]
    np.testing.assert_array_equal(first.inner.values, own.values)
    assert first.inner.values.flags["C_CONTIGUOUS"]
    assert first.inner.terms == own.terms
    assert (first.count, first.share) == (3, 0.1 + 0.2)
    assert second == Outer(None, 0, float("-inf"))
    assert back["flags"].tolist() == [True, False]
    assert back["names"].tolist() == ["CL", "V"]
    assert back["empty"].shape == (0, 2)
    assert (back["scalar"], back["text"]) == (1 / 3, "ω")


def test_a_class_that_has_changed_is_refused():
    @dataclass
    class Other:
        values: np.ndarray

    Other.__name__ = "Inner"
    packed = pack(Inner(np.ones(2), ()))
    for classes in ((), (Other,)):
        with pytest.raises(ValueError, match="another version of popk"):
            unpack(packed, classes)


def test_what_was_just_made_is_as_what_was_read():
    made = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    assert canonical(made).flags["C_CONTIGUOUS"]
    assert canonical(np.float64(2.0)) == 2.0
    assert canonical(np.array(3)).shape == ()


@pytest.mark.parametrize("value", [np.array([None]), object(), {1: 2}, {2}])
def test_what_cannot_be_stored_is_refused(value):
    with pytest.raises(TypeError, match="cannot be stored"):
        pack(value)


@pytest.mark.parametrize("content", [b"", b"no npz", pack([np.arange(9.0), 2])[:-70]])
def test_other_bytes_are_refused(content):
    with pytest.raises(ValueError, match=r"not what popk writes|shorter than what popk wrote"):
        unpack(content)
