"""Residual errors of several outputs, and of several assays with a factor between them."""

from __future__ import annotations

import numpy as np
import pytest
from popk_residuals import (
    PRIOR,
    SIGMA,
    check_symbols,
    exact,
    grid,
    seen,
    symbolic,
)
from scipy import stats

from popk.errors import SettingError
from popk.statistics import (
    NUMPY,
    Additive,
    Autocorrelated,
    ByAssay,
    ByOutput,
    Combined,
    LogNormal,
    LogNormalError,
    Normal,
    Proportional,
    prediction_slopes,
)


def test_each_output_has_its_own_error():
    error = ByOutput({"concentration": Proportional(PRIOR), "effect": Additive(PRIOR, blq="M4")})
    assert [own.name for own in error.parameters] == [
        "sigma_prop_concentration", "sigma_add_effect",
    ]  # fmt: skip
    assert [own.output for own in error.parameters] == ["concentration", "effect"]
    f, observed = grid()
    output = np.arange(9) % 2
    observed = observed._replace(output=output)
    values = {"sigma_prop_concentration": 0.22, "sigma_add_effect": 0.6}
    found = error.log_likelihood(observed, f, values, NUMPY)
    parts = [own.log_likelihood(observed, f, SIGMA, NUMPY) for _, own in error.errors]
    np.testing.assert_array_equal(found, np.where(output, parts[1], parts[0]))
    check_symbols(error, observed, f, values)
    (single,) = ByOutput({"effect": Additive(PRIOR)}).parameters
    assert (single.name, single.output) == ("sigma_add", "effect")
    nowhere = error.simulate(
        seen([1.0, 1.0], output=np.array([0, -1])),
        np.ones((3, 2)), values, np.random.default_rng(1),
    )  # fmt: skip
    assert np.isfinite(nowhere[:, 0]).all()
    assert np.isnan(nowhere[:, 1]).all()


def test_a_prediction_of_zero_of_one_output_does_not_spoil_the_other():
    error = ByOutput({"concentration": Proportional(PRIOR), "effect": Additive(PRIOR)})
    values = {"sigma_prop_concentration": 0.22, "sigma_add_effect": 0.6}
    observed = seen([2.0, 0.1], output=np.array([0, 1]))
    value, *slopes = symbolic(error, observed, np.array([2.1, 0.0]), values)
    assert np.isfinite(value).all()
    assert all(np.isfinite(slope).all() for slope in slopes)


ASSAYS = np.array([0, 1, 2, 1, 0, 0, 1, 2, 1])
LABS = ByAssay(
    {0: Proportional(PRIOR), 1: Combined(PRIOR, PRIOR), 2: LogNormalError(PRIOR)},
    scale={1: LogNormal(1.4, cv=0.1)},
    label="LAB",
)
LAB_VALUES = {
    "sigma_prop_LAB0": 0.22, "sigma_prop_LAB1": 0.22, "sigma_add_LAB1": 0.6,
    "sigma_log_LAB2": 0.3, "scale_LAB1": 1.4,
}  # fmt: skip


def test_each_assay_has_its_own_error_and_factor():
    assert [own.name for own in LABS.parameters] == list(LAB_VALUES)
    assert LABS.assays == (0, 1, 2)
    f, observed = grid()
    observed = observed._replace(assay=ASSAYS)
    found = LABS.log_likelihood(observed, f, LAB_VALUES, NUMPY)
    for level, own in LABS.errors:
        factor = 1.4 if level == 1 else 1.0
        expected = own.log_likelihood(observed, factor * f, SIGMA, NUMPY)
        np.testing.assert_allclose(found[:, level == ASSAYS], expected[:, level == ASSAYS])
    check_symbols(LABS, observed, f, LAB_VALUES)
    slope, _ = prediction_slopes(LABS, observed, np.broadcast_to(f, (4, 9)), LAB_VALUES)
    _, by_f, *_ = symbolic(LABS, observed, np.broadcast_to(f, (4, 9)), LAB_VALUES)
    np.testing.assert_allclose(slope, by_f, rtol=1e-4, atol=1e-6)


def test_assays_draw_around_their_own_prediction():
    observed = seen(np.full(9, np.nan))._replace(assay=ASSAYS)
    f = np.full((20_000, 9), 6.0)
    values = LABS.simulate(observed, f, LAB_VALUES, np.random.default_rng(2))
    for k, level in enumerate(ASSAYS):
        own = dict(LABS.errors)[level]
        law = exact(own, 8.4 if level == 1 else 6.0)
        assert stats.kstest(values[:, k], law.cdf).pvalue > 1e-4


def test_one_error_for_all_assays():
    error = ByAssay(Proportional(PRIOR), scale={1: PRIOR}, label="LAB")
    assert [own.name for own in error.parameters] == ["sigma_prop", "scale_LAB1"]
    f = np.array([4.0, 4.0])
    observed = seen([4.4, 5.0], assay=np.array([0, 1]))
    found = error.log_likelihood(observed, f, {"sigma_prop": 0.2, "scale_LAB1": 1.3}, NUMPY)
    np.testing.assert_allclose(found, stats.norm([4.0, 5.2], [0.8, 1.04]).logpdf([4.4, 5.0]))


@pytest.mark.parametrize(
    ("errors", "options", "said"),
    [
        ({0: Proportional(PRIOR)}, {}, "only the level 0 of ASSAY"),
        (Proportional(PRIOR), {}, "only the level 0 of ASSAY"),
        ({0: PRIOR, 1: PRIOR}, {}, "expected a residual error"),
        ({1: Additive(PRIOR), 2: Additive(PRIOR)}, {}, "names level 0 of ASSAY, for which it has"),
        ({0: Additive(PRIOR), 1: Additive(PRIOR)}, {"scale": {2: PRIOR}}, "names level 2"),
        ({0: Additive(PRIOR), 1: Additive(PRIOR)}, {"scale": {0: PRIOR}}, "the reference, to"),
        ({"A": Additive(PRIOR)}, {}, "level 'A' in errors"),
        (
            {0: Autocorrelated(Additive(PRIOR), PRIOR), 1: Additive(PRIOR)},
            {},
            r"write Autocorrelated\(ByAssay",
        ),
    ],
)
def test_assays_that_do_not_fit_together(errors, options, said):
    with pytest.raises(SettingError, match=said):
        ByAssay(errors, **options)


def test_a_reference_other_than_zero():
    error = ByAssay({1: Additive(PRIOR), 2: Additive(PRIOR)}, scale={2: PRIOR}, reference=1)
    assert error.assays == (1, 2)
    with pytest.raises(SettingError, match="error names no output"):
        ByOutput({})
    with pytest.raises(SettingError, match=r"error\['effect'\] was given Normal"):
        ByOutput({"effect": Normal(0.0, 1.0)})
