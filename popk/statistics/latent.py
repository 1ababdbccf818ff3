"""Covariates that were not measured in everybody: their distribution is part of the model."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from popk.errors import SettingError
from popk.statistics.covariates import CovariateEffect, Fold, Folds
from popk.statistics.operations import NUMPY, Operations
from popk.statistics.priors import Fixed, Prior
from popk.statistics.scales import LinearScale, LogScale, Scale

__all__ = ["LatentCovariate", "latent_faults"]

_LOG_TWO_PI = math.log(2 * math.pi)
_PROBES = (-8.0, 0.0, 8.0)  # on the scale: far out, where a value may make no sense


@dataclass(frozen=True)
class LatentCovariate:
    """A continuous covariate, constant in a subject, that was not measured in every subject.

    Its distribution between subjects is estimated with the rest: normal around ``mean`` with the
    SD ``sd`` on the scale. Each measured value is an observation of it; a value that is missing is
    a random effect of its subject, about which the subject's concentrations say something too
    (full maximum likelihood modelling in Johansson & Karlsson, AAPS J 15:1232, 2013).
    Latent covariates are independent of each other and of the random effects. That the value is
    missing must not depend on what it is, given everything else in the model (missing at random).

    Parameters
    ----------
    covariate
        Name of the covariate, as in the dataset.
    mean
        Prior of its mean between subjects, in its unit: on the logarithmic scale the geometric
        mean, on the logit scale the median.
    sd
        Prior of its SD between subjects: of the logarithm (the logit) on these scales, where it has
        no unit; in the covariate's unit on the linear one.
    scale
        Where it is normal: `LogScale` (log-normal, as weights are), `LinearScale` or `LogitScale`.
    """

    covariate: str
    mean: Prior
    sd: Prior
    scale: Scale = LogScale()  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        if not isinstance(self.covariate, str) or not self.covariate.strip():
            raise SettingError(
                f"LatentCovariate was given covariate={self.covariate!r}; expected a name such as "
                "'WT'."
            )
        for field in ("mean", "sd"):
            given = getattr(self, field)
            if not isinstance(given, Prior):
                number = isinstance(given, int | float) and not isinstance(given, bool)
                known = f"; for a known value write Fixed({given:g})" if number else ""
                raise SettingError(
                    f"The latent covariate {self.covariate} was given {field}={given!r}; expected "
                    f"a prior{known}."
                )
        if not isinstance(self.scale, Scale):
            raise SettingError(
                f"The latent covariate {self.covariate} was given scale={self.scale!r}; expected a "
                "scale such as LogScale() or LinearScale()."
            )

    @property
    def mean_name(self) -> str:
        """Name of the mean in the posterior."""
        return f"mean_{self.covariate}"

    @property
    def sd_name(self) -> str:
        """Name of the SD in the posterior."""
        return f"sd_{self.covariate}"

    def described(self, unit: str) -> tuple[tuple[str, Prior, str, str], ...]:
        """Name, prior, unit and meaning of its population parameters, for a covariate's unit."""
        kinds = {LogScale: "geometric mean", LinearScale: "mean"}
        kind = kinds.get(type(self.scale), "median")
        spread = self.scale.of.format(name=self.covariate)
        own = unit if isinstance(self.scale, LinearScale) else "1"
        return (
            (self.mean_name, self.mean, unit, f"{kind} of {self.covariate} between subjects"),
            (self.sd_name, self.sd, own, f"SD of {spread} between subjects"),
        )

    def value(self, z: Any, population: Mapping[str, Any], ops: Operations) -> Any:
        """The covariate of subjects from their standardised effects z; all broadcast."""
        mean = self.scale.forward(population[self.mean_name], ops)
        return self.scale.inverse(mean + population[self.sd_name] * z, ops)

    def log_density(self, value: Any, population: Mapping[str, Any], ops: Operations) -> Any:
        """Log density of measured values, elementwise, per unit of the covariate; all broadcast."""
        mean = self.scale.forward(population[self.mean_name], ops)
        sd = population[self.sd_name]
        distance = (self.scale.forward(value, ops) - mean) / sd
        slope = self.scale.slope(value)
        return -0.5 * distance * distance - ops.log(sd) - ops.log(slope) - 0.5 * _LOG_TWO_PI

    def fault(self, value: float) -> str | None:
        """Why a measured value cannot belong to the distribution, or None."""
        low, high = self.scale.low, self.scale.high
        if low < value < high:
            return None
        wanted = f"above {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
        return f"as a latent covariate on {self.scale!r} it lies {wanted}"


def latent_faults(
    latent: Sequence[LatentCovariate],
    effects: Sequence[CovariateEffect],
    taken: Collection[str],
) -> Iterator[str]:
    """Sentences on everything that is wrong with the latent covariates of a model.

    Parameters
    ----------
    latent
        The latent covariates.
    effects
        The covariate effects.
    taken
        Names of the other population parameters.
    """
    used = list(dict.fromkeys(name for effect in effects for name in effect.covariates))
    seen: set[str] = set()
    for one in latent:
        name = one.covariate
        if name in seen:
            yield f"latent names {name} twice."
        seen.add(name)
        if name not in used:
            yield (
                f"latent names {name}, which no covariate effect uses (they use "
                f"{', '.join(used) or 'none'})."
            )
        low, high = one.mean.support
        edges = isinstance(one.mean, Fixed)
        inside = (low > one.scale.low or (low == one.scale.low and not edges)) and (
            high < one.scale.high or (high == one.scale.high and not edges)
        )
        if not inside:
            yield (
                f"the mean of the latent covariate {name} has the prior {one.mean!r}, which allows "
                f"values from {low:g} to {high:g}; on {one.scale!r} it lies between "
                f"{one.scale.low:g} and {one.scale.high:g}; use such a prior (LogNormal, Uniform), "
                "or another scale."
            )
        if not one.sd.positive:
            yield (
                f"the SD of the latent covariate {name} has the prior {one.sd!r}; an SD needs one "
                "above zero (HalfNormal)."
            )
        for parameter in (one.mean_name, one.sd_name):
            if parameter in taken:
                yield (
                    f"{parameter} would be the name of a parameter of the latent covariate {name} "
                    "and of something else. Give the other another label."
                )
        yield from _effect_faults(one, effects)


def _effect_faults(one: LatentCovariate, effects: Sequence[CovariateEffect]) -> Iterator[str]:
    """Effects that cannot have a latent covariate."""
    name = one.covariate
    for effect in effects:
        if name not in effect.covariates:
            continue
        if isinstance(effect, Fold | Folds):
            yield (
                f"latent names {name}, which is a category in the {effect.kind} effect on "
                f"{effect.parameter}; a LatentCovariate is continuous. Write "
                f"LatentCategory({name!r}, {{level: mean share, ...}}) instead."
            )
            continue
        values = [float(one.scale.inverse(phi, NUMPY)) for phi in _PROBES]
        fault = next((f for value in values if (f := effect.fault(name, value))), None)
        if fault:
            yield (
                f"latent {name} on {one.scale!r} may be {min(values):.3g}, but {fault}; use "
                "LogScale() for what is above zero, LogitScale(low, high) for what lies between."
            )
