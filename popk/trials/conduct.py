"""How a trial is conducted: the run-in, when visits really take place, what is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popk.errors import SettingError
from popk.regimen import Regimen
from popk.units import Units

__all__ = ["Conduct", "Slips"]

type Floats = NDArray[np.float64]
type Bools = NDArray[np.bool_]

_FURTHEST = 2.0  # SDs of a visit from its planned day


@dataclass(frozen=True, kw_only=True)
class Conduct:
    """What happens in a trial beside the policies.

    Parameters
    ----------
    run_in
        The doses before the policies begin, in the model's units; the first decision is made one
        interval after the last of them. Its amount and duration are those of every infusion. If
        None, six infusions of the fit's usual dose at its usual interval.
    measured
        At how many visits up to the first decision, that one included, a trough is measured.
    lloq
        Lower limit of quantification, in the model's unit; without one if None.
    scatter
        SD in days of a visit around the planned day, at most two of them.
    missed
        Probability that a patient does not come to a planned visit, and comes later.
    delay
        By how many weeks.
    lost
        Probability that a trough of a visit is not measured.
    """

    run_in: Regimen | None = None
    measured: int = 2
    lloq: float | None = None
    scatter: float = 0.0
    missed: float = 0.0
    delay: float = 1.0
    lost: float = 0.0

    def __post_init__(self) -> None:
        for name in ("missed", "lost"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise SettingError(
                    f"Conduct was given {name}={value!r}; give a probability from 0 to below 1."
                )
        for name in ("scatter", "delay"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise SettingError(f"Conduct was given {name}={value!r}; give zero or more.")
        if self.lloq is not None and not (math.isfinite(self.lloq) and self.lloq > 0):
            raise SettingError(
                f"Conduct was given lloq={self.lloq!r}; give a concentration above zero, or None."
            )
        if isinstance(self.measured, bool) or self.measured not in range(1000):
            raise SettingError(f"Conduct was given measured={self.measured!r}; give 0, 1, 2 ….")


@dataclass(frozen=True, eq=False)
class Slips:
    """What chance does to each patient's visits, the same under every policy.

    ``later`` (n, n_visits): how much later than planned a visit is, in the model's unit of time;
    ``measured`` (n, n_visits): whether its trough is measured. Visits are numbered from the first
    infusion of the run-in; the first decision is at visit ``start``.
    """

    later: Floats
    measured: Bools
    start: int

    @classmethod
    def drawn(cls, conduct: Conduct, units: Units, size: tuple[int, int], seed: int) -> Slips:
        """Of ``size`` (n, n_visits); patient by patient, so that more of them change nothing."""
        assert conduct.run_in is not None
        start, (n, visits) = conduct.run_in.repeats, size
        normal, uniform = np.empty((n, visits)), np.empty((2, n, visits))
        for patient in range(n):
            rng = np.random.default_rng([seed, 1, patient])
            normal[patient] = rng.standard_normal(visits)
            uniform[:, patient] = rng.random((visits, 2)).T
        later = conduct.scatter * units.time_in("d") * normal.clip(-_FURTHEST, _FURTHEST)
        chosen = np.arange(visits) > start
        missed = chosen & (uniform[0] < conduct.missed)
        later = later + conduct.delay * units.time_in("wk") * missed
        later[:, 0] = 0.0
        measured = np.arange(visits) > start - conduct.measured
        measured = measured & (uniform[1] >= conduct.lost)
        measured[:, 0] = False
        return cls(later, measured, start)
