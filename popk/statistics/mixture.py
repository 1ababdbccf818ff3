"""Classes of subjects whose label is summed out: their shares, and what depends on the label.

A subject's likelihood is summed over the classes, each weighted with its share (McLachlan & Peel,
Finite Mixture Models, 2000, ch. 1), so that a label is never sampled: its posterior follows from
Bayes' formula.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popk.statistics.covariates import Fold
from popk.statistics.operations import Operations
from popk.statistics.priors import Beta, Fixed, Prior
from popk.statistics.shares import ClassParameter, Dirichlet, Text

__all__ = ["DerivedShare", "Mixture"]

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class DerivedShare:
    """A share that follows from the population parameters, such as the reference's.

    ``prior`` is the formula by which it does.
    """

    name: str
    prior: Text
    meaning: str
    among: Mixture
    label: int
    unit: str = "1"

    def value(self, population: Mapping[str, Any], ops: Operations) -> Any:
        """Its value, from those of the population parameters."""
        return ops.exp(self.among.log_shares(population, ops)[self.label])


class Mixture(ABC):
    """Classes of subjects, each with a share; the first is the reference."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the classes."""

    @property
    @abstractmethod
    def known_shares(self) -> Dirichlet | tuple[tuple[str, Prior], ...]:
        """What is known of the shares, by the classes' names: of all, or of each but the first."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What a model with these classes has: ``"sub-populations"``."""

    @abstractmethod
    def described(self, name: str) -> str:
        """The subjects of a class, in a few words: ``"in sub-population fast"``."""

    @abstractmethod
    def indicators(self, labels: Any) -> dict[str, NDArray[np.float64]]:
        """The covariates that depend on the class, for labels: positions among the classes."""

    @property
    def effects(self) -> tuple[Fold, ...]:
        """Effects of these covariates, beside those that the model has."""
        return ()

    @property
    def factors(self) -> tuple[tuple[str, tuple[tuple[str, Prior], ...]], ...]:
        """Priors of the factors of these effects, by parameter and class."""
        return ()

    @property
    def fold_parameters(self) -> tuple[ClassParameter, ...]:
        """Name, prior and meaning of the factors of these effects."""
        return ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know about telling the classes apart."""
        return ()

    @property
    def observed_in(self) -> str | None:
        """The covariate that says the class of those in whom it was measured; None without."""
        return None

    @property
    def parameters(self) -> tuple[ClassParameter, ...]:
        """The population parameters: factors, then shares."""
        return self.fold_parameters + self.share_parameters

    @property
    def share_parameters(self) -> tuple[ClassParameter, ...]:
        """Name, prior and meaning of what the shares are made of, between 0 and 1."""
        found, before = [], list[str]()
        for name, prior in zip(self.names[1:], self._sticks(), strict=True):
            meaning = f"share of subjects {self.described(name)}"
            if before:
                meaning = f"share of {name} among those who are not {' or '.join(before)}"
            found.append(
                ClassParameter(f"share_{name}{'_of_rest' if before else ''}", prior, meaning)
            )
            before.append(name)
        return tuple(found)

    @property
    def derived(self) -> tuple[DerivedShare, ...]:
        """The shares that are not parameters themselves, the reference's last."""
        parts = [part.name for part in self.share_parameters]
        found = []
        for k in (*range(2, len(self.names)), 0):
            before = parts if k == 0 else parts[: k - 1]
            rest = [f"1 - {part}" if len(parts) == 1 else f"(1 - {part})" for part in before]
            formula = " * ".join([*(parts[k - 1 : k] if k else ()), *rest])
            name = self.names[k]
            meaning = f"share of subjects {self.described(name)}"
            found.append(DerivedShare(f"share_{name}", Text(formula), meaning, self, k))
        return tuple(found)

    def log_shares(self, population: Mapping[str, Any], ops: Operations) -> list[Any]:
        """Logarithm of the share of each class, from the population parameters by name."""
        rest: Any = 0.0
        found = []
        for part in self.share_parameters:
            value = population[part.name]
            found.append(rest + ops.log(value))
            rest = rest + ops.log1p(-value)
        return [rest, *found]

    def _sticks(self) -> Iterator[Prior]:
        """Priors of each class's share among those who are left, without the reference."""
        names = self.names[1:]
        rest = 1.0
        if isinstance(self.known_shares, Dirichlet):
            means, n = dict(self.known_shares.means), self.known_shares.n
            for name in names:
                yield Beta(min(means[name] / rest, 1 - _ROUNDING), n * rest)
                rest -= means[name]
            return
        given = dict(self.known_shares)
        for name in names:
            prior = given[name]
            if len(names) == 1 or not isinstance(prior, Fixed):
                yield prior
                continue
            yield Fixed(prior.value / rest)
            rest -= prior.value
