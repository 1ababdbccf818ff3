"""Effects evaluated by NumPy and by PyTensor."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from popk.statistics import NUMPY, pytensor_operations


def numpy_factor(effect, covariates, coefficients):
    """Factors (n) for covariates (n) and numbers as coefficients, by name."""
    given = {name: np.asarray(value, float) for name, value in covariates.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.exp(effect.log_factor(given, coefficients, NUMPY))


def symbolic(effect, covariates, coefficients):
    """Log factors (n), and the derivative of their sum by each coefficient."""
    inputs = {name: pt.dscalar(name) for name in coefficients}
    given = {name: np.asarray(value, float) for name, value in covariates.items()}
    log = effect.log_factor(given, inputs, pytensor_operations())
    # As the model does: NaN is taken out before anything rests on it.
    total = pt.where(pt.isnan(log), 0.0, log).sum()
    slopes = pytensor.grad(total, list(inputs.values()), disconnected_inputs="ignore")
    run = pytensor.function(
        list(inputs.values()), [log, *slopes], mode="FAST_COMPILE", on_unused_input="ignore"
    )
    found, *by = run(*coefficients.values())
    return found, dict(zip(coefficients, map(float, by), strict=True))


def check(effect, covariates, coefficients, expected):
    """NumPy and PyTensor give the expected factors, and PyTensor the slope of their logarithms."""
    expected = np.asarray(expected, float)
    np.testing.assert_allclose(numpy_factor(effect, covariates, coefficients), expected, rtol=1e-12)
    found, slopes = symbolic(effect, covariates, coefficients)
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-12)
    for name, value in coefficients.items():
        h = 1e-6 * max(1.0, abs(value))
        ends = [
            np.log(numpy_factor(effect, covariates, coefficients | {name: value + side * h}))
            for side in (1, -1)
        ]
        slope = np.nansum(ends[0] - ends[1]) / (2 * h)
        assert slopes[name] == pytest.approx(slope, rel=1e-6, abs=1e-8), name


@pytest.fixture
def factors():
    return SimpleNamespace(check=check, numpy=numpy_factor, symbolic=symbolic)
