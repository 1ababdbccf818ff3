"""Kinds of outcome: what a row holds, its likelihood in PyMC, and how it is simulated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, override

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from popk.errors import SettingError
from popk.statistics import HalfNormal, Normal, Prior

__all__ = ["Counts", "Ordinal", "Outcome", "Presence", "TimeToEvent"]

type Floats = NDArray[np.float64]
type Columns = Mapping[str, Floats]

_WIDE = 2.0  # SD of the prior of an intercept, around the crude figure


@dataclass(frozen=True, kw_only=True)
class Outcome(ABC):
    """What is observed of patients. Concrete ones are frozen.

    Parameters
    ----------
    name
        What it is, for sentences and axes, as ``"relapses"``.
    effect
        Prior of the effect on the linear predictor of one step of exposure (a doubling, or as the
        measure has it).
    adjustment
        Prior of the effect of one SD of each covariate that is adjusted for.
    between
        Prior of the SD between patients of the linear predictor, beyond what exposure explains;
        None leaves it out.
    """

    name: str = ""
    effect: Prior = field(default_factory=lambda: Normal(0.0, 1.0))
    adjustment: Prior = field(default_factory=lambda: Normal(0.0, 1.0))
    between: Prior | None = field(default_factory=lambda: HalfNormal(1.0))

    ratio: ClassVar[str] = ""
    """What the exponential of an effect is."""
    value: ClassVar[str] = ""
    """The column of the outcome."""
    response: ClassVar[str] = ""
    """What `mean` gives."""

    def __post_init__(self) -> None:
        for name, prior in (("effect", self.effect), ("adjustment", self.adjustment)):
            if not isinstance(prior, Prior) or prior.positive:
                raise SettingError(
                    f"The prior of {name} is {prior!r}; give one on both sides of zero, as "
                    "popk.Normal(0, 1)."
                )
        if self.between is not None and not (
            isinstance(self.between, Prior) and self.between.positive
        ):
            raise SettingError(
                f"The prior of the SD between patients is {self.between!r}; give one above zero, "
                "as popk.HalfNormal(1), or None."
            )

    def fault(self, value: float) -> str:
        """What is wrong with a value of the outcome; empty where nothing is."""
        del value
        return ""

    def varies(self, subject: NDArray[np.int64]) -> bool:
        """Whether an SD between patients can be told, from the rows' subjects."""
        return self.between is not None and len(np.unique(subject)) < len(subject)

    @abstractmethod
    def likelihood(self, eta: Any, data: Mapping[str, Any], columns: Columns) -> None:
        """Add the likelihood of the rows to the model on the context stack.

        Parameters
        ----------
        eta
            Effects (row) on the linear predictor, without an intercept.
        data
            What may be replaced (`pm.Data`): ``value`` (row), and ``at_risk`` in years.
        columns
            The values themselves.
        """

    @abstractmethod
    def simulated(
        self, eta: Floats, drawn: Mapping[str, Floats], columns: Columns, rng: np.random.Generator
    ) -> dict[str, Floats]:
        """Columns with another outcome, given the linear predictor and the other parameters."""

    @abstractmethod
    def mean(self, eta: Floats, drawn: Mapping[str, Floats]) -> Floats:
        """Expected outcome at the linear predictor (..., S), see ``response``."""


@dataclass(frozen=True, kw_only=True)
class Counts(Outcome):
    """Counts: relapses by time at risk, new lesions by scan.

    Poisson with the logarithm of the rate linear in exposure, and a log-normal factor of each
    patient (``between``); with ``dispersion`` negative binomial.

    Parameters
    ----------
    per
        ``"year"``: rows have START and END, or AT_RISK, and the rate is by year; ``"row"``: the
        rate is by row (a scan).
    dispersion
        Prior of the negative binomial's alpha (variance mu + mu^2 / alpha), for counts that spread
        within patients, as new lesions do; None for Poisson.
    """

    per: str = "year"
    dispersion: Prior | None = None
    ratio: ClassVar[str] = "rate ratio"
    value: ClassVar[str] = "COUNT"

    @override
    def __post_init__(self) -> None:
        Outcome.__post_init__(self)
        if self.per not in ("year", "row"):
            raise SettingError(f"per is {self.per!r}; expected 'year' or 'row'.")

    @property
    def response(self) -> str:  # type: ignore[override]
        """What `mean` gives."""
        return f"{self.name or 'events'} per {'patient-year' if self.per == 'year' else 'row'}"

    @override
    def fault(self, value: float) -> str:
        return (
            "" if value >= 0 and value == round(value) else "a count is a whole number, 0 or more"
        )

    @override
    def varies(self, subject: NDArray[np.int64]) -> bool:
        # Spread beyond Poisson shows it with one row a patient, too.
        return self.between is not None

    @override
    def likelihood(self, eta: Any, data: Mapping[str, Any], columns: Columns) -> None:
        import pymc as pm

        crude = (columns["value"].sum() + 0.5) / columns["at_risk"].sum()
        intercept = pm.Normal("intercept", float(np.log(crude)), _WIDE)
        mu = data["at_risk"] * pm.math.exp(intercept + eta)
        if self.dispersion is None:
            pm.Poisson("outcome", mu, observed=data["value"], dims="row")
        else:
            alpha = self.dispersion.variable("alpha")
            pm.NegativeBinomial("outcome", mu=mu, alpha=alpha, observed=data["value"], dims="row")

    @override
    def simulated(
        self, eta: Floats, drawn: Mapping[str, Floats], columns: Columns, rng: np.random.Generator
    ) -> dict[str, Floats]:
        mu = columns["at_risk"] * np.exp(drawn["intercept"] + eta)
        if self.dispersion is not None:
            mu = mu * rng.gamma(drawn["alpha"], 1.0 / drawn["alpha"], len(mu))
        return {**columns, "value": rng.poisson(mu).astype(float)}

    @override
    def mean(self, eta: Floats, drawn: Mapping[str, Floats]) -> Floats:
        return np.asarray(np.exp(drawn["intercept"] + eta))


@dataclass(frozen=True, kw_only=True)
class Presence(Outcome):
    """Presence or absence at a scan or visit: logistic regression, several rows a patient."""

    ratio: ClassVar[str] = "odds ratio"
    value: ClassVar[str] = "PRESENT"

    @property
    def response(self) -> str:  # type: ignore[override]
        """What `mean` gives."""
        return f"probability of {self.name or 'the outcome'}"

    @override
    def fault(self, value: float) -> str:
        return "" if value in (0, 1) else "presence is 0 or 1"

    @override
    def likelihood(self, eta: Any, data: Mapping[str, Any], columns: Columns) -> None:
        import pymc as pm

        value = columns["value"]
        crude = float(logit((value.sum() + 0.5) / (len(value) + 1.0)))
        intercept = pm.Normal("intercept", crude, _WIDE)
        pm.Bernoulli("outcome", logit_p=intercept + eta, observed=data["value"], dims="row")

    @override
    def simulated(
        self, eta: Floats, drawn: Mapping[str, Floats], columns: Columns, rng: np.random.Generator
    ) -> dict[str, Floats]:
        chance = expit(drawn["intercept"] + eta)
        return {**columns, "value": (rng.uniform(size=len(eta)) < chance).astype(float)}

    @override
    def mean(self, eta: Floats, drawn: Mapping[str, Floats]) -> Floats:
        return np.asarray(expit(drawn["intercept"] + eta))


@dataclass(frozen=True, kw_only=True)
class Ordinal(Outcome):
    """An ordered score, as a disability scale: cumulative logits, any spacing of its levels.

    The levels are those that occur; their probabilities at the reference have a flat prior. An
    odds ratio above 1 means higher levels at higher exposure.
    """

    ratio: ClassVar[str] = "odds ratio of a higher level"
    value: ClassVar[str] = "LEVEL"

    @property
    def response(self) -> str:  # type: ignore[override]
        """What `mean` gives."""
        return f"mean position of {self.name or 'the level'}"

    @override
    def likelihood(self, eta: Any, data: Mapping[str, Any], columns: Columns) -> None:
        import pymc as pm
        import pytensor.tensor as pt

        levels = int(columns["value"].max()) + 1
        share = pm.Dirichlet("share", np.ones(levels))
        below = pt.cumsum(share)[:-1]  # type: ignore[no-untyped-call]
        cut = pm.Deterministic("cut", pt.log(below) - pt.log1p(-below))
        most = pm.math.sigmoid(cut - eta[:, None])  # at this level or a lower one
        ones = pt.ones_like(eta)[:, None]  # type: ignore[no-untyped-call]
        all_levels = pt.concatenate([0.0 * ones, most, ones], axis=1)  # type: ignore[no-untyped-call]
        chance = all_levels[:, 1:] - all_levels[:, :-1]
        pm.Categorical("outcome", p=chance, observed=data["value"].astype("int64"), dims="row")

    @override
    def simulated(
        self, eta: Floats, drawn: Mapping[str, Floats], columns: Columns, rng: np.random.Generator
    ) -> dict[str, Floats]:
        below = expit(np.atleast_1d(drawn["cut"]) - eta[:, None])
        value = (rng.uniform(size=(len(eta), 1)) > below).sum(axis=1)
        return {**columns, "value": value.astype(float)}

    @override
    def mean(self, eta: Floats, drawn: Mapping[str, Floats]) -> Floats:
        below = expit(np.moveaxis(drawn["cut"], 0, -1) - eta[..., None])
        return np.asarray((1.0 - below).sum(axis=-1))


@dataclass(frozen=True, kw_only=True)
class TimeToEvent(Outcome):
    """Time to a first event, some not seen to have one: proportional hazards.

    Parameters
    ----------
    cuts
        None for a Weibull hazard; else times in years at which a constant hazard changes
        (piecewise exponential), as ``(0.5, 1)``.
    """

    between: Prior | None = None
    cuts: tuple[float, ...] | None = None
    ratio: ClassVar[str] = "hazard ratio"
    value: ClassVar[str] = "TIME"

    @override
    def __post_init__(self) -> None:
        Outcome.__post_init__(self)
        object.__setattr__(self, "cuts", None if self.cuts is None else tuple(self.cuts))
        if self.between is not None:
            raise SettingError("A first event comes once a patient: leave out between.")
        if self.cuts is not None and (
            any(cut <= 0 for cut in self.cuts) or list(self.cuts) != sorted(set(self.cuts))
        ):
            raise SettingError(f"cuts is {self.cuts!r}; give ascending years above zero.")

    @property
    def response(self) -> str:  # type: ignore[override]
        """What `mean` gives."""
        return f"probability of {self.name or 'the event'} within a year"

    @override
    def fault(self, value: float) -> str:
        return "" if value > 0 else "the time to an event or the end of follow-up is above zero"

    @override
    def likelihood(self, eta: Any, data: Mapping[str, Any], columns: Columns) -> None:
        import pymc as pm
        import pytensor.tensor as pt

        crude = float(np.log((columns["event"].sum() + 0.5) / columns["value"].sum()))
        event, entry = data["event"], data["entry"]
        if self.cuts is None:
            intercept = pm.Normal("intercept", crude, _WIDE)
            shape = pm.LogNormal("shape", 0.0, 0.5)

            def logp(value: Any, eta: Any, event: Any, entry: Any, a: Any, k: Any) -> Any:
                hazard = pt.log(k) + (k - 1.0) * pt.log(value)
                passed = value**k - pt.switch(pt.gt(entry, 0), entry, 0.0) ** k
                return event * (a + eta + hazard) - pt.exp(a + eta) * passed

            parents: tuple[Any, ...] = (eta, event, entry, intercept, shape)
        else:
            starts = np.array([0.0, *self.cuts])
            ends = np.array([*self.cuts, np.inf])
            pieces = pm.Normal("intercept", crude, _WIDE, shape=len(starts))

            def logp(  # type: ignore[misc]
                value: Any, eta: Any, event: Any, entry: Any, a: Any
            ) -> Any:
                spent = pt.clip(value[:, None], starts, ends) - pt.clip(
                    entry[:, None], starts, ends
                )
                at = (pt.gt(value[:, None], starts) * pt.le(value[:, None], ends)) * a
                each = event * (at.sum(axis=1) + eta) - pt.exp(eta) * (pt.exp(a) * spent).sum(1)
                return each.sum()

            parents = (eta, event, entry, pieces)
        # The hazards of the pieces are not by row, so the rows are one value together.
        whole = {} if self.cuts is None else {"signature": "(r),(r),(r),(j)->(r)"}
        pm.CustomDist("outcome", *parents, logp=logp, observed=data["value"], dims="row", **whole)

    @override
    def simulated(
        self, eta: Floats, drawn: Mapping[str, Floats], columns: Columns, rng: np.random.Generator
    ) -> dict[str, Floats]:
        ended = columns["event"] == 0
        follow = columns["value"].copy()
        # Until when those with an event would have been followed is not known.
        follow[~ended] = max(float(np.median(follow[ended])) if ended.any() else 0.0, follow.max())
        entry = columns["entry"]
        target = self._passed(entry, drawn) + rng.exponential(size=len(eta)) / np.exp(eta)
        time = self._when(target, drawn)
        return {
            **columns,
            "value": np.minimum(time, follow),
            "event": (time <= follow).astype(float),
        }

    def _passed(self, time: Floats, drawn: Mapping[str, Floats]) -> Floats:
        """Cumulative hazard (n) of the reference at times (n)."""
        if self.cuts is None:
            return np.asarray(np.exp(drawn["intercept"]) * time ** drawn["shape"])
        starts, ends = np.array([0.0, *self.cuts]), np.array([*self.cuts, np.inf])
        spent = np.clip(time[:, None], starts, ends) - starts
        return np.asarray(spent @ np.exp(np.atleast_1d(drawn["intercept"])))

    def _when(self, target: Floats, drawn: Mapping[str, Floats]) -> Floats:
        """Times (n) at which the reference's cumulative hazard reaches targets (n)."""
        if self.cuts is None:
            return np.asarray((target / np.exp(drawn["intercept"])) ** (1.0 / drawn["shape"]))
        rate, starts = np.exp(np.atleast_1d(drawn["intercept"])), np.array([0.0, *self.cuts])
        reached = np.concatenate([[0.0], np.cumsum(rate[:-1] * np.diff(starts))])
        k = np.searchsorted(reached, target, side="right") - 1
        return np.asarray(starts[k] + (target - reached[k]) / rate[k])

    @override
    def mean(self, eta: Floats, drawn: Mapping[str, Floats]) -> Floats:
        if self.cuts is None:
            passed = np.exp(drawn["intercept"])  # by the first year, whatever the shape
        else:
            starts, ends = np.array([0.0, *self.cuts]), np.array([*self.cuts, np.inf])
            spent = np.clip(1.0, starts, ends) - starts
            passed = np.tensordot(spent, np.exp(drawn["intercept"]), axes=(0, 0))
        return np.asarray(1.0 - np.exp(-passed * np.exp(eta)))
