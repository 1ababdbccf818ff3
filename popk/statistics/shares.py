"""Shares of the classes of a population: what is known of them, and draws of labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from popk.errors import SettingError
from popk.statistics.priors import Prior

__all__ = [
    "ClassParameter",
    "Dirichlet",
    "Text",
    "class_probabilities",
    "drawn_labels",
    "impossible",
    "pairs_of",
]

type Pairs[V] = Mapping[str, V] | Iterable[tuple[str, V]]

_ROUNDING = 1e-9


@dataclass(frozen=True, repr=False, init=False)
class Dirichlet:
    """Shares of several classes, known as from `n` subjects: Dirichlet(mean * n).

    Parameters
    ----------
    means
        Mean of every class's share, the reference included; they sum to 1.
    n
        How much is known: the number of subjects that would say as much.

    Raises
    ------
    SettingError
        When the means are not shares, or `n` is not above zero.
    """

    means: tuple[tuple[str, float], ...]
    n: float

    def __init__(self, means: Pairs[float], n: float) -> None:
        pairs = tuple((str(k), v) for k, v in pairs_of(means, "Dirichlet", "means"))
        for name, value in (*pairs, ("n", n)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise SettingError(
                    f"Dirichlet was given {value!r} for {name}; expected a number above zero."
                )
        total = sum(value for _, value in pairs)
        if abs(total - 1) > _ROUNDING or not math.isfinite(n):
            raise SettingError(
                f"Dirichlet was given means that sum to {total:g} and n={n:g}; the means of all "
                "shares sum to 1 and n is a number of subjects."
            )
        object.__setattr__(self, "means", tuple((k, float(v)) for k, v in pairs))
        object.__setattr__(self, "n", float(n))

    def __repr__(self) -> str:
        listed = ", ".join(f"{name!r}: {mean:g}" for name, mean in self.means)
        return f"Dirichlet({{{listed}}}, n={self.n:g})"


@dataclass(frozen=True, slots=True)
class ClassParameter:
    """A population parameter of sub-populations: name, prior and meaning."""

    name: str
    prior: Prior
    meaning: str


class Text(NamedTuple):
    """Words where a prior would stand."""

    text: str

    def __repr__(self) -> str:
        return self.text


def pairs_of(given: Any, where: str, what: str) -> list[tuple[str, Any]]:
    """Names with what belongs to them.

    Raises
    ------
    SettingError
        When it is no mapping, nor pairs.
    """
    try:
        pairs = list(given.items() if isinstance(given, Mapping) else given)
        return [(str(name), value) for name, value in pairs]
    except (TypeError, ValueError):
        raise SettingError(
            f"{where} was given {what}={given!r}; expected a mapping from names."
        ) from None


def class_probabilities(
    log_shares: NDArray[np.float64], log_likelihood: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probability of each class by Bayes' formula (..., n_classes).

    Parameters
    ----------
    log_shares
        Logarithm of the classes' shares, (..., n_classes).
    log_likelihood
        Of a subject's data in each class, (..., n_classes). Where no class explains the data, they
        say nothing, and the shares come back.
    """
    likelihood = np.where(np.isfinite(log_likelihood), log_likelihood, -np.inf)
    nowhere = np.isneginf(likelihood).all(axis=-1, keepdims=True)
    return np.asarray(softmax(log_shares + np.where(nowhere, 0.0, likelihood), axis=-1))


def impossible(labels: NDArray[np.int64], n_classes: int) -> NDArray[np.bool_]:
    """Which classes (..., n_classes) cannot be, given labels: all others, none where it is -1."""
    given = labels[..., None]
    return np.asarray((given >= 0) & (given != np.arange(n_classes)))


def drawn_labels(
    probability: NDArray[np.float64], rng: np.random.Generator, shape: tuple[int, ...]
) -> NDArray[np.int64]:
    """Labels of the shape, by the probabilities of the classes (..., n_classes), broadcast."""
    below = np.cumsum(probability[..., :-1], axis=-1)
    return np.asarray((rng.random((*shape, 1)) >= below).sum(axis=-1), dtype=np.int64)
