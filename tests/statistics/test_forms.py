"""Centred and non-centred coordinates: the stated map, its determinant, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from popk.errors import SettingError
from popk.statistics import IIV, NUMPY, Correlated, HalfNormal, check_forms, held_effects

N = 3
# Effects 0 and 2 are correlated, their block in the other order; 1 stands alone.
MIXING = [[0.3, 0.0, 0.2], [0.0, 0.5, 0.0], [0.0, 0.0, 0.7]]


def mapped(u, scale, mixing=MIXING):
    location = np.arange(9.0).reshape(N, 3) / 10
    centre = {0: np.array([0.1, -0.2, 0.3]), 2: 0.4}
    z, log_determinant = held_effects(
        dict(enumerate(u.T)), mixing, centre, location=location, scale=scale, ops=NUMPY
    )
    return np.stack([z[e] for e in range(3)], axis=1), log_determinant, location, centre


def test_centred_effects_place_the_parameter_and_others_stay_as_they_are():
    rng = np.random.default_rng(1)
    u, scale = rng.standard_normal((N, 3)), rng.uniform(0.1, 2.0, (N, 3))
    z, log_determinant, location, centre = mapped(u, scale)
    np.testing.assert_array_equal(z[:, 1], u[:, 1])
    eta = z @ np.array(MIXING).T
    for e in (0, 2):
        np.testing.assert_allclose(centre[e] + eta[:, e], location[:, e] + scale[:, e] * u[:, e])
    for i in range(N):
        step = np.eye(3) * 1e-3
        rises = [(mapped(u + s, scale)[0] - mapped(u - s, scale)[0])[i] / 2e-3 for s in step]
        exact = np.linalg.slogdet(np.array(rises).T)[1]
        assert log_determinant[i] == pytest.approx(exact, rel=1e-8)
        assert abs(exact) > 0.1


def test_a_scale_of_zero_is_the_non_centred_form():
    u = np.random.default_rng(2).standard_normal((N, 3))
    z, log_determinant, *_ = mapped(u, np.zeros((N, 3)))
    np.testing.assert_array_equal(z, u)
    np.testing.assert_array_equal(log_determinant, 0.0)


def test_the_centred_coordinate_does_not_depend_on_the_sds():
    """What makes it the centred form: phi is the same whatever the SDs are."""
    u, scale = np.ones((N, 3)), np.ones((N, 3))
    for factor in (1.0, 5.0):
        mixing = [[factor * x for x in row] for row in MIXING]
        z, _, location, centre = mapped(u, scale, mixing)
        eta = z @ np.array(mixing).T
        np.testing.assert_allclose(centre[0] + eta[:, 0], location[:, 0] + 1.0)


VARIABILITY = IIV(
    {"CL": HalfNormal(0.4), "V": HalfNormal(0.4), "KA": HalfNormal(0.4)},
    correlations=[Correlated(("CL", "V"))],
)


def test_what_is_not_named_is_adapted():
    assert check_forms(VARIABILITY, {"KA": "centred"}) == {
        "CL": "adapted", "V": "adapted", "KA": "centred",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("forms", "sentence"),
    [
        (
            {"KA": "central"},
            "forms says 'central' for KA; expected one of adapted, centred, non-centred.",
        ),
        (
            {"Q": "centred"},
            "forms names Q, which has no random effect between subjects (those that do: CL, V, "
            "KA).",
        ),
        (
            {"CL": "centred"},
            "forms gives correlated effects different forms: CL centred, V adapted. Give one.",
        ),
    ],
)
def test_refusals(forms, sentence):
    with pytest.raises(SettingError) as refusal:
        check_forms(VARIABILITY, forms)
    assert str(refusal.value) == sentence
