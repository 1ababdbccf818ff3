"""Predictions of one patient as polynomials of its parameters, where the equations are costly.

Within what the posterior allows, the logarithm of a concentration is a smooth function of the
logarithms of a patient's parameters: a cubic through a thousand solutions is good to a few parts in
a thousand, and costs a fiftieth. It only ranks proposals and nodes; what is kept is corrected by
exact solutions (`popk.inference.marginal.cohort.Cohort.correct`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from popk.inference.marginal.polynomials import evaluated, evaluated_with_slopes
from popk.structure import Solution

__all__ = ["Surrogate", "fitted_surrogate"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_MOST_CUBIC = 8  # inputs
_MOST_QUADRATIC = 20
_PER_COEFFICIENT = 4  # solutions, at least
_RIDGE = 1e-8
_STILL = 1e-5  # of an input's SD below which it does not move
_TAPER = 4  # of a solution's weight with its squared distance from the middle
_MARGIN = 1.1  # beyond the training inputs the polynomials are held constant


@dataclass(frozen=True)
class Surrogate:
    """Stands in for a patient's `popk.structure.Solver`.

    ``moving`` marks the parameters (n_rows * m) that vary, ``logarithmic`` those whose logarithm is
    taken; ``centre`` (D0) and ``whiten`` (D0, D) lead to the inputs, held within ``edge`` (D).
    ``terms`` are the products of inputs, ``coefficients`` (n_terms, n_outputs) their factors;
    ``positive`` (n_outputs), whether they give the logarithm.
    """

    moving: NDArray[np.bool_]
    logarithmic: NDArray[np.bool_]
    centre: Floats
    whiten: Floats
    edge: Floats
    terms: tuple[tuple[int, ...], ...]
    coefficients: Floats
    positive: NDArray[np.bool_]

    def ensemble(self, theta: Floats, *, with_gradient: bool = False) -> Solution:
        """As `popk.structure.Solver.ensemble`."""
        flat = theta.reshape(len(theta), -1)
        x, held = self._inputs(flat)
        if not with_gradient:
            value = self._natural(evaluated(x, *self._plan, self.coefficients))
            return Solution(value, np.zeros((len(theta), 0, theta.shape[2])))
        value, by_input = evaluated_with_slopes(x, *self._plan, self.coefficients, *self._slopes)
        value = self._natural(value)
        by_input = np.where(held.T[:, None, :], 0.0, by_input)  # (S, n_outputs, D)
        by_input *= np.where(self.positive, value, 1.0)[..., None]
        by_moving = by_input @ self.whiten.T
        chain = 1.0 / np.where(self.logarithmic, flat[:, self.moving], 1.0)
        gradient = np.zeros((*value.shape, flat.shape[1]))
        gradient[..., self.moving] = by_moving * chain[:, None]
        return Solution(value, gradient.reshape(len(theta), -1, theta.shape[2]))

    @cached_property
    def _plan(self) -> tuple[Ints, Ints]:
        """Of each term, that with its last factor taken away, and that factor."""
        place = {term: row for row, term in enumerate(self.terms)}
        without = [place[term[:-1]] if term else -1 for term in self.terms]
        last = [term[-1] if term else -1 for term in self.terms]
        return np.array(without, dtype=np.int64), np.array(last, dtype=np.int64)

    def _inputs(self, flat: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Inputs (D, S), and where they are held at the edge."""
        given = flat[:, self.moving]
        with np.errstate(divide="ignore", invalid="ignore"):
            given = np.where(self.logarithmic, np.log(given), given)
        x = self.whiten.T @ (given - self.centre).T
        edge = self.edge[:, None]
        return np.clip(x, -edge, edge), np.abs(x) > edge

    @cached_property
    def _slopes(self) -> tuple[Ints, Ints, Floats]:
        """Parts of the derivatives: by which input, the term that is left, and its factors."""
        place = {term: row for row, term in enumerate(self.terms)}
        by, of, factors = [], [], []
        for t, term in enumerate(self.terms):
            for k in sorted(set(term)):
                left = list(term)
                left.remove(k)
                by.append(k)
                of.append(place[tuple(left)])
                factors.append(term.count(k) * self.coefficients[t])
        whole = np.array(factors, dtype=float).reshape(len(by), self.coefficients.shape[1])
        return np.array(by, dtype=np.int64), np.array(of, dtype=np.int64), whole

    def _natural(self, value: Floats) -> Floats:
        return np.where(self.positive, np.exp(np.minimum(value, 700.0)), value)


def fitted_surrogate(theta: Floats, value: Floats) -> Surrogate | None:
    """The polynomials nearest to solutions, or None where there are too many inputs or too few.

    Parameters
    ----------
    theta
        Parameters (N, n_rows, m).
    value
        Solutions (N, n_outputs).
    """
    flat = theta.reshape(len(theta), -1)
    usable = np.isfinite(value).all(axis=1) & np.isfinite(flat).all(axis=1)
    flat, value = flat[usable], value[usable]
    if not len(flat) or not value.shape[1]:
        return None
    moving = flat.std(axis=0) > _STILL * np.abs(flat).mean(axis=0)
    if not moving.any():
        return None
    given = flat[:, moving]
    logarithmic = (given > 0).all(axis=0)
    given = np.where(logarithmic, np.log(np.where(logarithmic, given, 1.0)), given)
    centre = np.median(given, axis=0)
    size, axes = np.linalg.eigh(np.atleast_2d(np.cov(given.T)))
    kept = size > _STILL**2 * size.max()
    whiten = axes[:, kept] / np.sqrt(size[kept])
    degree = 3 if kept.sum() <= _MOST_CUBIC else 2
    terms = tuple(
        term
        for power in range(degree + 1)
        for term in combinations_with_replacement(range(int(kept.sum())), power)
    )
    if kept.sum() > _MOST_QUADRATIC or len(flat) < _PER_COEFFICIENT * len(terms):
        return None
    x = (given - centre) @ whiten
    edge = _MARGIN * np.abs(x).max(axis=0)
    positive = (value > 0).all(axis=0)
    target = np.where(positive, np.log(np.where(positive, value, 1.0)), value)
    # What is far out bends the polynomials where it matters.
    weight = 1 / (1 + (x**2).mean(axis=1)) ** _TAPER
    design = _products(x.T, terms)
    gram = (design * weight) @ design.T
    gram += _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    coefficients = np.linalg.solve(gram, (design * weight) @ target)
    return Surrogate(moving, logarithmic, centre, whiten, edge, terms, coefficients, positive)


def _products(x: Floats, terms: tuple[tuple[int, ...], ...]) -> Floats:
    """Products (n_terms, S) of inputs (D, S)."""
    found = np.ones((len(terms), x.shape[1]))
    for row, term in enumerate(terms):
        for k in term:
            found[row] *= x[k]
    return found
