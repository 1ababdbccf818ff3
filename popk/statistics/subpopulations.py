"""Sub-populations: classes of subjects that nobody observed (NONMEM's $MIXTURE).

The class is a categorical covariate without data. The first class is the reference; every other one
has factors on typical values; the label is summed out (`popk.statistics.mixture`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, override

import numpy as np
from numpy.typing import NDArray

from popk.errors import SettingError
from popk.statistics.covariates import Fold
from popk.statistics.mixture import Mixture
from popk.statistics.priors import Fixed, Prior
from popk.statistics.shares import ClassParameter, Dirichlet, Pairs, pairs_of

__all__ = ["Subpopulations"]

_CLASS = re.compile(r"[A-Za-z0-9_]+")
_ROUNDING = 1e-9
_TAILS = (0.05, 0.25, 0.5)


@dataclass(frozen=True, repr=False, init=False)
class Subpopulations(Mixture):
    """Classes of subjects, never observed, that differ by factors on typical values.

    A parameter's typical value is multiplied by the class's factor, as by that of a covariate
    (`Fold`); random effects come on top, whatever the class.

    Parameters
    ----------
    classes
        Names, the reference first: ``("normal", "fast")``. Letters, digits and underscores.
    shares
        What is known of the shares of the classes. Of two: the prior of the share of the second,
        ``{"fast": Beta(0.3, n=10)}``. Of more: `Dirichlet` over all of them, or `Fixed` for each
        but the reference.
    folds
        Prior of the factor on a parameter, by parameter and class:
        ``{"CL": {"fast": LogNormal(2.0, cv=0.3)}}``, ``fold_CL_fast`` in the posterior. A class
        that is not named under a parameter has the reference's.

    Raises
    ------
    SettingError
        With a sentence on what is missing, unknown or impossible, and when two classes are one
        another's image in the prior, so that no data can tell which is which.

    Notes
    -----
    Three or more shares are sampled by stick-breaking: ``share_fast``, then
    ``share_slow_of_rest``, the share of slow among those who are not fast. Their Beta priors
    together are the Dirichlet (Connor & Mosimann, J. Am. Stat. Assoc. 64:194, 1969).
    """

    classes: tuple[str, ...]
    shares: Dirichlet | tuple[tuple[str, Prior], ...]
    folds: tuple[tuple[str, tuple[tuple[str, Prior], ...]], ...]

    def __init__(
        self,
        classes: Iterable[str],
        *,
        shares: Dirichlet | Pairs[Prior],
        folds: Pairs[Pairs[Prior]],
    ) -> None:
        named = (classes,) if isinstance(classes, str) else tuple(classes)
        given = shares if isinstance(shares, Dirichlet) else tuple(pairs_of(shares, _US, "shares"))
        by_parameter = tuple(
            (parameter, tuple(pairs_of(own, _US, f"folds of {parameter}")))
            for parameter, own in pairs_of(folds, _US, "folds")
        )
        object.__setattr__(self, "classes", named)
        object.__setattr__(self, "shares", given)
        object.__setattr__(self, "folds", by_parameter)
        for check in (_check_classes, _check_folds, _check_shares, _check_distinct):
            check(self)

    def __repr__(self) -> str:
        shares: Any = self.shares if isinstance(self.shares, Dirichlet) else dict(self.shares)
        folds = {parameter: dict(own) for parameter, own in self.folds}
        return f"Subpopulations({self.classes!r}, shares={shares!r}, folds={folds!r})"

    @property
    @override
    def names(self) -> tuple[str, ...]:
        return self.classes

    @property
    @override
    def known_shares(self) -> Dirichlet | tuple[tuple[str, Prior], ...]:
        return self.shares

    @property
    @override
    def title(self) -> str:
        return "sub-populations"

    @override
    def described(self, name: str) -> str:
        return f"in sub-population {name}"

    @property
    @override
    def effects(self) -> tuple[Fold, ...]:
        """The factors as effects of indicators (`indicators`), 1 in a class and 0 elsewhere."""
        return tuple(
            Fold(parameter, _indicator(name), prior, label=f"{parameter}_{name}")
            for parameter, own in self.folds
            for name, prior in own
        )

    @override
    def indicators(self, labels: Any) -> dict[str, NDArray[np.float64]]:
        """The covariates of `effects`, for labels: positions among the classes."""
        given = np.asarray(labels)
        return {_indicator(name): 1.0 * (given == k) for k, name in enumerate(self.classes)}

    @property
    @override
    def factors(self) -> tuple[tuple[str, tuple[tuple[str, Prior], ...]], ...]:
        return self.folds

    @property
    @override
    def fold_parameters(self) -> tuple[ClassParameter, ...]:
        """Name, prior and meaning of every factor."""
        return tuple(
            ClassParameter(
                f"fold_{parameter}_{name}",
                prior,
                f"factor on {parameter} in sub-population {name} (1 in {self.classes[0]})",
            )
            for parameter, own in self.folds
            for name, prior in own
        )

    @property
    @override
    def notes(self) -> tuple[str, ...]:
        """What to know about telling the classes apart."""
        reference, *others = self.classes
        found = []
        for name in others:
            own = [prior for _, pairs in self.folds for k, prior in pairs if k == name]
            free = [prior for prior in own if not isinstance(prior, Fixed)]
            if free and all(map(_is_about_one, free)) and len(free) == len(own):
                found.append(
                    f"The factors of {name} are as likely below 1 as above: only the priors of the "
                    f"typical values say which class is {reference} and which {name}. Where they "
                    "are wide, chains may end with the two exchanged; a factor that lies above 1 "
                    "for certain, such as Uniform(1, 5), orders them."
                )
        return tuple(found)


_US = Subpopulations.__name__


def _indicator(name: str) -> str:
    """Name of the covariate that nobody observed; no column of data has such a name."""
    return f"sub-population {name}"


def _check_classes(given: Subpopulations) -> None:
    classes = given.classes
    if len(classes) < 2:
        raise SettingError(
            f"Subpopulations was given the classes {', '.join(map(str, classes)) or 'none'}; "
            "expected two or more, the reference first: ('normal', 'fast')."
        )
    for name in classes:
        if not isinstance(name, str) or not _CLASS.fullmatch(name):
            raise SettingError(
                f"Subpopulations was given the class {name!r}; a class's name is made of letters, "
                "digits and underscores, such as 'fast'."
            )
        if classes.count(name) > 1:
            raise SettingError(f"Subpopulations was given the class {name} twice.")


def _check_folds(given: Subpopulations) -> None:
    reference, *others = given.classes
    parameters = [parameter for parameter, _ in given.folds]
    for parameter, own in given.folds:
        if parameters.count(parameter) > 1:
            raise SettingError(f"Subpopulations was given the folds of {parameter} twice.")
        names = [name for name, _ in own]
        for name, prior in own:
            where = f"Subpopulations was given a fold of {parameter} for {name}"
            if name == reference:
                raise SettingError(
                    f"{where}, the reference, whose factor is 1; give those of {_and(others)}."
                )
            if name not in others:
                raise SettingError(f"{where}; its classes are {_and(given.classes)}.")
            if names.count(name) > 1:
                raise SettingError(f"{where} twice.")
            if not isinstance(prior, Prior) or not prior.positive:
                raise SettingError(
                    f"{where}: {prior!r}; expected a prior of a factor above zero: "
                    "LogNormal(median, cv), or Fixed(value)."
                )
    for name in others:
        if not any(name == own for _, pairs in given.folds for own, _ in pairs):
            raise SettingError(
                f"Subpopulations has no fold for {name}, which would be the same as {reference}; "
                f'give one: folds={{"CL": {{"{name}": LogNormal(2.0, cv=0.3)}}}}.'
            )


def _check_shares(given: Subpopulations) -> None:
    reference, *others = given.classes
    if isinstance(given.shares, Dirichlet):
        named = [name for name, _ in given.shares.means]
        if sorted(named) != sorted(given.classes):
            raise SettingError(
                f"Subpopulations was given Dirichlet shares of {_and(named)}; its classes are "
                f"{_and(given.classes)}, and each needs one."
            )
        return
    named = [name for name, _ in given.shares]
    if named.count(reference):
        raise SettingError(
            f"Subpopulations was given the share of {reference}, the reference, which is what the "
            f"others leave; give that of {_and(others)}."
        )
    if sorted(named) != sorted(others):
        raise SettingError(
            f"Subpopulations was given shares of {_and(named) or 'none'}; expected those of "
            f"{_and(others)}."
        )
    for name, prior in given.shares:
        low, high = prior.support if isinstance(prior, Prior) else (math.nan, math.nan)
        known = isinstance(prior, Fixed)
        if not 0 <= low <= high <= 1 or (known and not 0 < low < 1):
            raise SettingError(
                f"Subpopulations was given {prior!r} for the share of {name}; expected a prior "
                "between 0 and 1, such as Beta(0.3, n=10), or Fixed(0.3)."
            )
        if len(others) > 1 and not known:
            means = ", ".join(f'"{k}": ...' for k in given.classes)
            raise SettingError(
                f"Subpopulations was given {prior!r} for the share of {name}, one of "
                f"{len(given.classes)} classes; shares sum to 1, so give Dirichlet({{{means}}}, "
                "n=...) for all of them, or Fixed for each but the reference."
            )
    total = sum(prior.value for _, prior in given.shares if isinstance(prior, Fixed))
    if total >= 1 - _ROUNDING:
        raise SettingError(
            f"Subpopulations was given fixed shares that sum to {total:g}; they leave nothing for "
            f"{reference}."
        )


def _check_distinct(given: Subpopulations) -> None:
    """Refuse two classes that nothing tells apart, in the data or in the prior."""
    factors = {
        name: {parameter: dict(own).get(name, Fixed(1.0)) for parameter, own in given.folds}
        for name in given.classes[1:]
    }
    shares = dict(given.shares.means) if isinstance(given.shares, Dirichlet) else dict(given.shares)
    names = list(factors)
    for k, one in enumerate(names):
        for other in names[:k]:
            if factors[one] != factors[other]:
                continue
            known = all(isinstance(prior, Fixed) for prior in factors[one].values())
            if known or shares[one] == shares[other]:
                raise SettingError(
                    f"Subpopulations has the same folds{'' if known else ' and shares'} for "
                    f"{other} and {one}: nothing tells which is which. Give them different priors, "
                    "or make them one."
                )


def _is_about_one(prior: Prior) -> bool:
    """Whether a factor is as likely as its inverse."""
    low, high = prior.quantile(_TAILS), prior.quantile([1 - tail for tail in _TAILS])
    return bool((abs(low * high - 1) < 1e-6).all())


def _and(names: Iterable[str]) -> str:
    *first, last = names = list(names) or [""]
    return f"{', '.join(first)} and {last}" if first else last
