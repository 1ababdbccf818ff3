"""A category that was not measured in everybody: its distribution is part of the model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, override

import numpy as np
from numpy.typing import NDArray

from popk.errors import SettingError
from popk.statistics.covariates import CovariateEffect
from popk.statistics.mixture import Mixture
from popk.statistics.priors import Prior
from popk.statistics.shares import Dirichlet

__all__ = ["LatentCategory", "category_faults"]

_ROUNDING = 1e-9


@dataclass(frozen=True, init=False)
class LatentCategory(Mixture):
    """A covariate that is one of a few, constant in a subject, not measured in every subject.

    Its shares are estimated with the rest. Each measured value is an observation of them; where it
    is missing the likelihood of the subject is summed over the levels, each weighted with its
    share, so that the subject's concentrations say something of the level too. That the value is
    missing must not depend on what it is, given everything else in the model (missing at random).
    A continuous covariate is a `LatentCovariate`.

    Parameters
    ----------
    covariate
        Name of the covariate, as in the dataset, which codes its levels as numbers.
    shares
        Prior mean of the share of each level, the reference first; they sum to 1:
        ``{0: 0.5, 1: 0.5}``.
    n
        How much is known of the shares: the number of subjects that would say as much
        (Dirichlet(mean * n)). By default the number of levels: with equal means the uniform prior.

    Raises
    ------
    SettingError
        With what was given and what was expected.
    """

    covariate: str
    shares: tuple[tuple[float, float], ...]
    n: float

    def __init__(
        self,
        covariate: str,
        shares: Mapping[float, float] | Iterable[tuple[float, float]],
        n: float | None = None,
    ) -> None:
        if not isinstance(covariate, str) or not covariate.strip():
            raise SettingError(
                f"LatentCategory was given covariate={covariate!r}; expected a name such as 'SEX'."
            )
        what = f"The latent category {covariate} was given"
        pairs = _pairs(what, shares)
        known = float(len(pairs)) if n is None else _number(f"{what} n=", n)
        if not known > 0:
            raise SettingError(f"{what} n={n!r}; expected a number of subjects above zero.")
        for name, value in (("covariate", covariate), ("shares", pairs), ("n", known)):
            object.__setattr__(self, name, value)

    @property
    def levels(self) -> tuple[float, ...]:
        """Its levels, the reference first."""
        return tuple(level for level, _ in self.shares)

    @property
    @override
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.covariate}_{level:g}" for level in self.levels)

    @property
    @override
    def known_shares(self) -> Dirichlet | tuple[tuple[str, Prior], ...]:
        means = (mean for _, mean in self.shares)
        return Dirichlet(tuple(zip(self.names, means, strict=True)), self.n)

    @property
    @override
    def title(self) -> str:
        return f"the latent category {self.covariate}"

    @override
    def described(self, name: str) -> str:
        return f"whose {self.covariate} is {self.levels[self.names.index(name)]:g}"

    @property
    @override
    def observed_in(self) -> str | None:
        return self.covariate

    @override
    def indicators(self, labels: Any) -> dict[str, NDArray[np.float64]]:
        return {self.covariate: np.asarray(self.levels)[np.asarray(labels)]}

    def labels(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Positions of values (n) among the levels; -1 where a value is missing (or unknown)."""
        found = np.full(len(values), -1)
        for k, level in enumerate(self.levels):
            found[values == level] = k
        return found

    def fault(self, value: float) -> str | None:
        """Why a measured value cannot be, or None."""
        if value in self.levels:
            return None
        listed = ", ".join(f"{level:g}" for level in self.levels)
        return f"the latent category {self.covariate} has the levels {listed} only"


def category_faults(
    given: LatentCategory, effects: Sequence[CovariateEffect], continuous: Sequence[str]
) -> Iterator[str]:
    """Sentences on what does not fit between a latent category and the rest of a model.

    Parameters
    ----------
    given
        The category.
    effects
        The covariate effects.
    continuous
        Names of the latent covariates that are continuous.
    """
    name = given.covariate
    used = list(dict.fromkeys(own for effect in effects for own in effect.covariates))
    if name in continuous:
        yield f"latent names {name} twice, as a category and as a continuous covariate."
    if name not in used:
        yield (
            f"latent names {name}, which no covariate effect uses (they use "
            f"{', '.join(used) or 'none'})."
        )
    for effect in effects:
        if name not in effect.covariates:
            continue
        for level in given.levels:
            if fault := effect.fault(name, level):
                yield f"the latent category {name} may be {level:g}, but {fault}."


def _pairs(what: str, given: Any) -> tuple[tuple[float, float], ...]:
    """Levels with the means of their shares."""
    try:
        pairs = tuple((level, mean) for level, mean in _items(given))
    except (TypeError, ValueError):
        raise SettingError(
            f"{what} shares={given!r}; expected the mean share of each level: {{0: 0.5, 1: 0.5}}."
        ) from None
    found = tuple((_number(f"{what} the level ", a), _number(f"{what} the share ", b))
                  for a, b in pairs)  # fmt: skip
    levels = [level for level, _ in found]
    for level in levels:
        if levels.count(level) > 1:
            raise SettingError(f"{what} the level {level:g} twice.")
    if len(levels) < 2:
        raise SettingError(f"{what} {len(levels)} level(s); expected two or more.")
    total = sum(mean for _, mean in found)
    if not all(mean > 0 for _, mean in found) or abs(total - 1) > _ROUNDING:
        listed = ", ".join(f"{mean:g}" for _, mean in found)
        raise SettingError(
            f"{what} the mean shares {listed}; expected numbers above zero that sum to 1."
        )
    return found


def _items(given: Any) -> Iterable[Any]:
    items: Iterable[Any] = given.items() if isinstance(given, Mapping) else given
    return items


def _number(what: str, given: Any) -> float:
    value = given.item() if isinstance(given, np.generic) else given
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SettingError(f"{what}{given!r}; expected a number.")
    return float(value)
