"""From population parameters to a subject's own: typical value, covariates, random effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from popk.statistics.covariates import CovariateEffect
from popk.statistics.operations import Operations


def log_expected(
    names: Sequence[str],
    effects: Sequence[CovariateEffect],
    *,
    population: Mapping[str, Any],
    covariates: Mapping[str, Any],
    ops: Operations,
) -> list[Any]:
    """Logarithm of each parameter as expected from the covariates, without random effects.

    Parameters
    ----------
    names
        Parameters of the structure, in its order.
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
    One array per name: log(typical) + sum of the log factors.
    """
    columns = []
    for name in names:
        column: Any = ops.log(population[name])
        for effect in effects:
            if effect.parameter == name:
                value, coefficient = covariates[effect.covariate], population[effect.coefficient]
                column = column + effect.log_factor(value, coefficient, ops)
        columns.append(column)
    return columns


def individual_parameters(
    expected: Sequence[Any], eta: Mapping[int, Any], ops: Operations
) -> list[Any]:
    """Individual parameters exp(expected + eta).

    Parameters
    ----------
    expected
        From `log_expected`, one array per parameter.
    eta
        Random effect of each parameter that varies, by the parameter's position.
    ops
        The arithmetic to use.
    """
    return [
        ops.exp(column + eta[k]) if k in eta else ops.exp(column)
        for k, column in enumerate(expected)
    ]
