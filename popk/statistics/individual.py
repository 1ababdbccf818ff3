"""From population parameters to a subject's own: typical value, covariates, random effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from popk.statistics.covariates import CovariateEffect
from popk.statistics.operations import Operations
from popk.statistics.scales import Scale


def expected_parameters(
    scales: Mapping[str, Scale],
    effects: Sequence[CovariateEffect],
    *,
    population: Mapping[str, Any],
    covariates: Mapping[str, Any],
    ops: Operations,
) -> list[Any]:
    """Each parameter on its scale as expected from the covariates, without random effects.

    Parameters
    ----------
    scales
        The scale of each parameter of the structure, in its order.
    effects
        The covariate effects.
    population
        Typical values and coefficients, by name; shapes broadcast with the covariates'.
    covariates
        Value of each covariate, by name.
    ops
        The arithmetic to use.

    Returns
    -------
    One array per parameter: the typical value times the factors of the covariates, on the scale;
    NaN where a factor is not above zero.
    """
    columns = []
    for name, scale in scales.items():
        factor: Any = 0.0
        for effect in effects:
            if effect.parameter == name:
                own = {c.name: c.value(population, ops) for c in effect.coefficients}
                factor = factor + effect.log_factor(covariates, own, ops)
        columns.append(scale.expected(population[name], factor, ops))
    return columns


def individual_parameters(
    scales: Mapping[str, Scale], expected: Sequence[Any], shift: Mapping[int, Any], ops: Operations
) -> list[Any]:
    """Individual parameters: random effects added on the scale.

    Parameters
    ----------
    scales
        The scale of each parameter, in the structure's order.
    expected
        From `expected_parameters`, one array per parameter.
    shift
        Sum of the random effects of each parameter that varies, by the parameter's position.
    ops
        The arithmetic to use.
    """
    return [
        scale.inverse(column + shift[k] if k in shift else column, ops)
        for k, (scale, column) in enumerate(zip(scales.values(), expected, strict=True))
    ]
