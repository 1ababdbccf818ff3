"""The cohorts that every tool solves, and what their concentrations and gradients must be.

Needs NumPy alone: the peers read it from environments of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

LINEAR = ("CL", "V1", "Q", "V2")
MICHAELIS_MENTEN = (*LINEAR, "VMAX", "KM")
TYPICAL = {"CL": 0.164, "V1": 3.48, "Q": 0.40, "V2": 3.48, "VMAX": 2.86, "KM": 0.875}  # d, mg, L
INTERVAL = 28.0  # d
AMOUNT = 300.0  # mg
BEFORE_DOSE = 0.02  # d; a trough is drawn half an hour before the next dose
JITTER = 3.0  # d; irregular doses stray by as much from their day
TROUGHS = 6
SIGMA = 0.2
HOUR = 1 / 24


@dataclass(frozen=True)
class Case:
    """One cohort: days, mg, L, mg/L.

    Shapes: ``theta`` (patients, parameters), ``dose_times`` (patients, doses), ``times``, ``doses``
    (how many doses went before) and ``y`` (patients, TROUGHS).
    """

    theta: np.ndarray
    dose_times: np.ndarray
    times: np.ndarray
    doses: np.ndarray
    y: np.ndarray
    duration: float
    regular: bool

    @property
    def linear(self):
        return self.theta.shape[1] == len(LINEAR)

    @property
    def patients(self):
        return len(self.theta)

    def part(self, patients):
        """The first patients alone."""
        rows = slice(patients)
        return Case(
            self.theta[rows], self.dose_times[rows], self.times[rows], self.doses[rows],
            self.y[rows], self.duration, self.regular,
        )  # fmt: skip

    def save(self, path):
        np.savez(path, **self.__dict__)

    @classmethod
    def load(cls, path):
        with np.load(Path(path)) as stored:
            found = {name: stored[name] for name in stored.files}
        found["duration"], found["regular"] = float(found["duration"]), bool(found["regular"])
        return cls(**found)


def make_case(*, linear, patients, doses, regular, infusion, seed=20260101):
    """A cohort with individual parameters (30 % between patients) and six troughs each."""
    rng = np.random.default_rng(seed)
    names = LINEAR if linear else MICHAELIS_MENTEN
    typical = np.array([TYPICAL[name] for name in names])
    theta = typical * np.exp(0.3 * rng.standard_normal((patients, len(names))))
    days = np.tile(INTERVAL * np.arange(doses), (patients, 1))
    if not regular:
        days[:, 1:] += rng.uniform(-JITTER, JITTER, (patients, doses - 1))
    due = np.hstack([days, np.full((patients, 1), INTERVAL * doses)])
    before = np.round(np.linspace(doses / TROUGHS, doses, TROUGHS)).astype(int)
    case = Case(
        theta=theta,
        dose_times=days,
        times=due[:, before] - BEFORE_DOSE,
        doses=np.tile(before, (patients, 1)),
        y=np.ones((patients, TROUGHS)),
        duration=HOUR if infusion else 0.0,
        regular=regular,
    )
    noise = np.exp(SIGMA * rng.standard_normal(case.y.shape))
    y = superposition(theta[:, :4], case) * noise
    return Case(**{**case.__dict__, "y": y})


def modes(theta):
    """Rate constants and weights of the two exponentials (real or complex parameters)."""
    CL, V1, Q, V2 = theta.T[:, :, None]
    k10, k21 = CL / V1, Q / V2
    total = k10 + Q / V1 + k21
    fast = 0.5 * (total + np.sqrt(total**2 - 4 * k10 * k21))
    slow = k10 * k21 / fast
    scale = AMOUNT / (V1 * (fast - slow))
    return (fast, scale * (fast - k21)), (slow, scale * (k21 - slow))


def superposition(theta, case):
    """Concentrations (patients, TROUGHS) of the linear model, one dose at a time."""
    found = np.zeros(case.times.shape, theta.dtype)
    pairs = modes(theta)
    for k in range(case.dose_times.shape[1]):
        since = case.times - case.dose_times[:, k : k + 1]
        for rate, weight in pairs:
            spread = np.expm1(rate * case.duration) / (rate * case.duration) if case.duration else 1
            part = weight * spread * np.exp(-rate * np.where(since > 0, since, 0))
            found += np.where(since > 0, part, 0)
    return found


def linear_reference(case):
    """Concentrations and their derivatives (patients, TROUGHS, 4), by complex steps."""
    slopes = []
    for j in range(len(LINEAR)):
        stepped = case.theta.astype(complex)
        step = 1e-30
        stepped[:, j] += 1j * step
        slopes.append(superposition(stepped, case).imag / step)
    return superposition(case.theta, case), np.stack(slopes, axis=-1)


def gradient_of_density(case, concentration, slopes):
    """Gradient (patients, parameters) of the log-normal log density of a case's data."""
    pull = np.log(case.y / concentration) / (SIGMA**2 * concentration)
    return np.einsum("ik,ikp->ip", pull, slopes)


def errors(case, found, reference):
    """Largest relative error of a concentration, and of a gradient relative to its column."""
    concentration, gradient = found
    exact, slopes = reference
    should = gradient_of_density(case, exact, slopes)
    wrong = np.abs(gradient - should).max(axis=0) / np.abs(should).max(axis=0)
    return float(np.abs(concentration / exact - 1).max()), float(wrong.max())


def pieces(case):
    """The history of each patient, cut at every event, for solvers that stop at events.

    Returns (patients, n_pieces) arrays: start, end, bolus (mg, at the start), infusion (mg/d) and
    observation (its number within the patient at the end, -1 if none).
    """
    rows = []
    for i in range(case.patients):
        marks = [(t, 1, -1) for t in case.dose_times[i]]
        marks += [(t + case.duration, 0, -1) for t in case.dose_times[i] if case.duration]
        marks += [(t, 2, k) for k, t in enumerate(case.times[i])]
        marks = sorted(mark for mark in marks if mark[0] <= case.times[i, -1])
        running, row = 0.0, []
        for (start, kind, _), (end, _, seen) in pairwise(marks):
            bolus = 0.0
            if kind == 1 and case.duration:
                running += AMOUNT / case.duration
            elif kind == 1:
                bolus = AMOUNT
            elif kind == 0:
                running -= AMOUNT / case.duration
            row.append((start, end, bolus, running, seen))
        rows.append(row)
    found = np.array(rows)
    return found[..., 0], found[..., 1], found[..., 2], found[..., 3], found[..., 4].astype(int)
