"""The population parameters as independent standard normal numbers under their priors.

In these coordinates an SD whose prior is half-normal has no wall at zero and no endless tail there,
a log-normal parameter is its logarithm, and the prior is the same whatever the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from popk.model import PopModel
from popk.population import PopulationDraws
from popk.statistics import Fixed, Prior

__all__ = ["Coordinates"]

type Floats = NDArray[np.float64]

_LOG_TWO_PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Coordinates:
    """Maps points x (S, d) to population draws."""

    model: PopModel

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The parameters that are estimated, d."""
        parameters = self.model.parameters
        return tuple(p.name for p in parameters if not isinstance(p.prior, Fixed))

    @cached_property
    def _priors(self) -> dict[str, Prior]:
        return {p.name: p.prior for p in self.model.parameters}

    def draws(self, x: Floats) -> PopulationDraws:
        """The population parameters at points (S, d)."""
        place = {name: k for k, name in enumerate(self.names)}
        none = np.zeros(len(x))
        values = {
            name: prior.at_score(x[:, place[name]] if name in place else none)
            for name, prior in self._priors.items()
        }
        return PopulationDraws(self.model, values)

    def scores(self, values: Mapping[str, Floats]) -> Floats:
        """The points (S, d) at which the parameters have these values (S)."""
        return np.stack([self._priors[name].score(values[name]) for name in self.names], axis=1)

    def log_prior(self, x: Floats) -> Floats:
        """Log prior density of points (S, d)."""
        return np.asarray(-0.5 * (x**2).sum(axis=1) - 0.5 * x.shape[1] * _LOG_TWO_PI)
