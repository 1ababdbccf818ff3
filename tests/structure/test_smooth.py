"""Smooth forms of what would need a branch."""

from __future__ import annotations

import numpy as np
import pytest

from popk.structure.smooth import hill, positive


@pytest.mark.parametrize("x", [-1e4, -1.0, -1e-13, 0.0, 1e-13, 1e-6, 1.0, 1e6])
@pytest.mark.parametrize("exponent", [0.5, 1.0, 3.15, 20.0])
def test_the_sigmoid_has_finite_derivatives_everywhere(x, exponent):
    tiny = 1e-200
    assert np.isfinite(hill(x + 1j * tiny, exponent).imag / tiny)  # complex-step derivative
    assert np.isfinite(hill(x, exponent + 1j * tiny).imag / tiny)
    if x >= 1e-6:
        assert hill(x, exponent) == pytest.approx(1 / (1 + x**-exponent), rel=1e-8)
        slope = exponent * x**-exponent / x / (1 + x**-exponent) ** 2
        assert hill(x + 1j * tiny, exponent).imag / tiny == pytest.approx(slope, rel=1e-7)
    if x <= 0:
        assert 0.0 <= hill(x, exponent) < 1e-6
    assert positive(x) > 0.0
