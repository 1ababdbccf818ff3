"""Where the chains start: a plausible mode, and each subject's likelihood around it.

The joint mode over population parameters and random effects is no place to start: the density grows
without bound as an SD shrinks. So the SDs are held while everything else is maximised, then set to
what the random effects and their uncertainty say (an EM step with a Gaussian approximation), a few
times over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logit

from popk.dataset import Dataset
from popk.inference.approximation import approximate_likelihood, effect_names
from popk.inference.forms import centred_coordinates
from popk.model import PopModel
from popk.statistics import Normal

__all__ = ["Start", "averaged", "find_start"]

type Floats = NDArray[np.float64]

_EM_STEPS = 6
_EVALUATIONS = 80  # of the density, in each EM step
_AVERAGED = 64  # draws over which the likelihood is approximated
_SPREAD = 0.2  # of the chains' starting points, in the population parameters (mostly logarithms)


@dataclass(frozen=True)
class Start:
    """A point in the sampler's coordinates and the likelihood's quadratic approximation there.

    ``position`` (n_dim), of which ``coordinates`` (places) are the random effects', those that are
    sampled as they stand (non-centred) left out; ``scale`` (n_dim), by how much a coordinate may
    change; and what `approximate_likelihood` and `centred_coordinates` give.
    """

    position: Floats
    scale: Floats
    coordinates: NDArray[np.int64]
    approximation: dict[str, Floats]

    def around(self, rng: np.random.Generator) -> Floats:
        """Where one chain starts (n_dim)."""
        spread = _SPREAD * self.scale
        spread[self.coordinates] = 1.0
        return self.position + spread * rng.uniform(-1, 1, len(spread))

    def data(self, model: PopModel, forms: Mapping[str, str]) -> dict[str, Floats]:
        """Those of the approximation that the compiled model takes."""
        adapted = "adapted" in forms.values()
        needs = {"occasion": bool(model.iov.effects), "curvature": adapted, "pull": adapted}
        needs["centred"] = "centred" in forms.values()
        return {k: v for k, v in self.approximation.items() if needs[k.split("_")[0]]}


class Joint(Protocol):
    """A joint density in the sampler's coordinates."""

    @property
    def size(self) -> int:
        """Number of coordinates."""

    @property
    def places(self) -> Mapping[str, tuple[slice, tuple[int, ...]]]:
        """Place of each variable among all, the coordinates first, and its shape."""

    def log_density(self, x: Floats) -> tuple[float, Floats]:
        """Log density and gradient at a point (size)."""

    def expand(self, x: Floats) -> dict[str, Floats]:
        """Every variable at a point (size)."""


class Point:
    """Reads and writes the sampler's flat vector by variable name."""

    def __init__(self, density: Joint) -> None:
        self._density = density
        self._places = density.places
        self.size = density.size

    def place(self, name: str) -> slice | None:
        """Where a free variable (under its transformed name) stands, or None."""
        for candidate in (name, f"{name}_log__", f"{name}_signed", f"{name}_logodds__"):
            found = self._places.get(candidate)
            if found is not None and found[0].stop <= self.size:
                return slice(found[0].start, found[0].stop)
        return None

    def is_log(self, name: str) -> bool:
        """Whether the sampler sees the logarithm of a variable."""
        return self._is(f"{name}_log__")

    def coordinate(self, name: str, value: float) -> float:
        """A value of a variable as the sampler sees it."""
        if self.is_log(name):
            return float(np.log(value))
        return float(logit(value)) if self._is(f"{name}_logodds__") else value

    def _is(self, transformed: str) -> bool:
        found = self._places.get(transformed)
        return found is not None and found[0].stop <= self.size

    def values(self, x: Floats) -> dict[str, Floats]:
        """Every variable, transformed back, at a point."""
        return self._density.expand(x)

    def log_density(self, x: Floats) -> tuple[float, Floats]:
        """Log density and gradient."""
        return self._density.log_density(x)


def find_start(
    model: PopModel, dataset: Dataset, density: Joint, forms: Mapping[str, str]
) -> Start:
    """A starting point for every chain.

    Parameters
    ----------
    model, dataset
        What is fitted to what.
    density
        Of the adapted model, its curvature, pull and centred scale zero.
    forms
        The form of every effect between subjects (`popk.statistics.check_forms`).
    """
    point = Point(density)
    x, scale = np.zeros(point.size), np.ones(point.size)
    for parameter in model.parameters:
        where = point.place(parameter.name)
        if where is not None:
            x[where] = point.coordinate(parameter.name, parameter.prior.median)
            # A coefficient per mL/min may be a thousandth, where a logarithm changes by 1.
            if isinstance(parameter.prior, Normal):
                scale[where] = min(1.0, parameter.prior.sd)
    omegas = [model.iiv.omega_name(effect) for effect in model.iiv.effects]
    between_occasions = [model.iov.omega_name(effect) for effect in model.iov.effects]
    between_groups = [x.omega_name(effect) for x in model.levels for effect in x.effects]
    held = np.zeros(point.size, dtype=bool)
    for name in (*omegas, *between_occasions, *between_groups):
        for candidate in (name, f"{name}_interval__"):
            where = point.place(candidate)
            if where is not None:
                held[where] = True

    def objective(at: Floats) -> tuple[float, Floats]:
        value, gradient = point.log_density(at * scale)
        if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
            return 1e300, np.zeros(point.size)
        return -value, np.where(held, 0.0, -gradient * scale)

    for _ in range(_EM_STEPS if omegas else 1):
        found = minimize(
            objective, x / scale, jac=True, method="L-BFGS-B", options={"maxfun": _EVALUATIONS}
        )
        x = found.x * scale
        values = point.values(x)
        approximation = approximate_likelihood(model, dataset, [values])
        if omegas:
            x = _update_sds(model, point, x, values, approximation["curvature"])
    approximation |= centred_coordinates(model, dataset, forms, [values])
    coordinates = _coordinates(point, [forms[name] != "non-centred" for name in model.iiv.effects])
    # With the approximation in place, the conditional mode is u = 0.
    x[coordinates] = 0.0
    return Start(x, scale, coordinates, approximation)


def averaged(
    model: PopModel, dataset: Dataset, forms: Mapping[str, str], start: Start, drawn: xr.Dataset
) -> Start:
    """The likelihood approximated over draws of a pilot run instead of at the mode.

    Parameters
    ----------
    model, dataset, forms
        As for `find_start`.
    start
        From `find_start`.
    drawn
        Draws (chain, draw, …) of the compiled model's variables.
    """
    posterior = drawn.stack(all=("chain", "draw"))
    chosen = np.linspace(0, posterior.sizes["all"] - 1, _AVERAGED).astype(int)
    names = [parameter.name for parameter in model.parameters]
    names += effect_names(model, posterior)
    thin = posterior[names].isel(all=chosen).transpose("all", ...)
    draws = [{name: thin[name].values[k] for name in names} for k in range(_AVERAGED)]
    found = approximate_likelihood(model, dataset, draws)
    found |= centred_coordinates(model, dataset, forms, draws)
    return replace(start, approximation=found)


def _coordinates(point: Point, follows: list[bool]) -> NDArray[np.int64]:
    """Places of the random effects' coordinates that follow the data, by effect, and occasions'."""
    every = np.arange(point.size)
    own, occasions = point.place("u"), point.place("u_occasion")
    parts = [every[occasions]] if occasions else []
    if own:
        parts.append(every[own].reshape(-1, len(follows))[:, follows].ravel())
    return np.concatenate(parts) if parts else every[:0]


def _update_sds(
    model: PopModel, point: Point, x: Floats, values: Mapping[str, Floats], curvature: Floats
) -> Floats:
    """One EM step for the SDs: mean of eta^2 plus its conditional variance."""
    order = model.structure.names
    moves = np.zeros((len(order), len(model.iiv.effects)))
    for k, effect in enumerate(model.iiv.effects):
        moves[[order.index(name) for name in model.iiv.acts_on(effect)], k] = 1.0
    names = [model.iiv.omega_name(effect) for effect in model.iiv.effects]
    omega = np.array([float(values[name]) for name in names])
    block = moves.T @ curvature @ moves
    precision = np.eye(len(omega)) + omega[:, None] * block * omega
    variance = np.diagonal(np.linalg.inv(precision), axis1=1, axis2=2)
    z = values["u"]
    new = omega * np.sqrt(np.mean(z**2 + variance, axis=0))
    x = x.copy()
    place = point.place("u")
    assert place is not None
    for k, name in enumerate(names):
        where = point.place(name)
        if where is None:  # fixed
            new[k] = omega[k]
            continue
        x[where] = np.log(new[k]) if point.is_log(name) else new[k]
    x[place] = (z * omega / new).ravel()
    return x
