"""Many patients taken together."""

import numpy as np
import pytest

from popk.monitoring.together import together

EVEN = (np.arange(60) + 0.5) / 60


def test_uniform_ranks_say_nothing():
    p, said = together(EVEN)
    assert p > 0.9
    assert said == ""


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        (EVEN**3, "lie below them"),
        (0.5 + 0.3 * (EVEN - 0.5), "less certain"),
        (np.where(EVEN > 0.5, 1 - 0.2 * EVEN, 0.2 * EVEN), "more certain"),
    ],
)
def test_what_is_wrong_is_said(ranks, words):
    p, said = together(ranks)
    assert p < 0.01
    assert words in said
    assert "60 patients" in said


def test_few_patients_say_nothing():
    p, said = together(np.append(EVEN[:19] ** 9, np.nan))
    assert np.isnan(p)
    assert said == ""
