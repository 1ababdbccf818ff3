"""Mistaken units, as hypotheses: the data as they would be if a column were in another unit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.design import design_of
from popk.diagnostics.explained import (
    CENTRAL,
    Measured,
    as_times,
    log_densities,
    outside,
    simulate_from_prior,
    typical_ratio,
)
from popk.model import PopModel
from popk.units import rescaled

__all__ = ["Mixup", "mixup_findings"]

type Floats = NDArray[np.float64]

_MUCH = math.log(5.0)  # gain in mean log density of an observation that is worth a sentence
_VERY_MUCH = math.log(100.0)  # below it the sentence begins with "perhaps"
_ALIKE = 0.3  # hypotheses whose gains differ by less are both named
# A hypothesis explains the data if at most this share is still outside, and their level is right
# within a factor of 10.
_TOLERATED = 0.2
_TIMES = ("min", "h", "d", "wk")
_FURTHEST = 200.0  # weeks for hours (168) are mistaken, days for minutes (1440) are not
_POUND = 0.45359237  # kg
_IN_KG = {"kg": 1.0, "g": 1e-3, "lb": _POUND}
# A cohort's median weight lies this near the model's reference, unless the unit is another. The
# reference of a model for adults may stand beside children, who are much lighter: only weights that
# are too heavy are taken for another unit.
_HEAVY, _NEAR = 1.75, 1.5


@dataclass(frozen=True)
class Mixup:
    """A column that may be in another unit than declared.

    Parameters
    ----------
    column
        Its name.
    claim
        What it looks like, without a full stop.
    remedy
        What to do, as a sentence.
    amount, time, concentration
        What AMT, TIME and DV are multiplied with to be in the unit declared.
    covariate, factor
        A covariate and what it is multiplied with.
    """

    column: str
    claim: str
    remedy: str
    amount: float = 1.0
    time: float = 1.0
    concentration: float = 1.0
    covariate: str | None = None
    factor: float = 1.0

    def corrected(self, dataset: Dataset) -> Dataset:
        """The doses, times and covariates as they then are; DV is left alone."""
        table = dataset.table
        rate = table["RATE"].values
        columns = {
            "AMT": table["AMT"].values * self.amount,
            "TIME": table["TIME"].values * self.time,
            "II": table["II"].values * self.time,
            # Negative rates are codes.
            "RATE": np.where(rate > 0, rate * self.amount / self.time, rate),
        }
        if self.covariate is not None:
            columns[self.covariate] = table[self.covariate].values * self.factor
        changed = {name: ("record", values) for name, values in columns.items()}
        return replace(dataset, table=table.assign(changed))


def _mixups_of(model: PopModel, dataset: Dataset) -> Iterator[Mixup]:
    """Every mistake that may have happened to these data or to the numbers of this model."""
    yield from _amounts(dataset)
    yield from _times(dataset)
    yield from _weights(model, dataset)


def _amounts(dataset: Dataset) -> Iterator[Mixup]:
    for column, unit in (("AMT", dataset.units.amount), ("DV", dataset.units.concentration)):
        for factor, how in ((1000.0, "multiply it by"), (0.001, "divide it by")):
            true = rescaled(unit, factor)
            if true is None:
                continue
            remedy = f"Check the unit of {column}; if it is {true}, {how} 1000."
            claim = f"{column} looks like {true} declared as {unit}"
            if column == "AMT":
                yield Mixup(column, claim, remedy, amount=factor)
            else:
                yield Mixup(column, claim, remedy, concentration=factor)


def _times(dataset: Dataset) -> Iterator[Mixup]:
    units = dataset.units
    for true in _TIMES:
        factor = units.time_in(true)
        if factor == 1 or not 1 / _FURTHEST < factor < _FURTHEST:
            continue
        how = f"multiply it by {factor:g}" if factor > 1 else f"divide it by {1 / factor:g}"
        yield Mixup(
            "TIME",
            f"TIME looks like {true} declared as {units.time}",
            f"Check the unit of TIME (and of II and RATE); if it is {true}, {how}.",
            time=factor,
        )
        yield Mixup(
            "TIME",
            f"the model's priors look like numbers per {true} declared per {units.time}",
            f"Check the unit of the rates and clearances that the priors are from; if TIME is in "
            f"{units.time}, give the priors per {units.time}.",
            time=1 / factor,
        )


def _weights(model: PopModel, dataset: Dataset) -> Iterator[Mixup]:
    """Weights far above the model's reference, which another unit brings near it."""
    seen: set[str] = set()
    for effect in model.covariates:
        name, reference = getattr(effect, "covariate", None), getattr(effect, "reference", None)
        unit = model.units.covariate(name) if isinstance(name, str) else None
        if not isinstance(name, str) or unit not in _IN_KG or name in seen:
            continue
        if isinstance(reference, bool) or not isinstance(reference, int | float) or reference <= 0:
            continue
        seen.add(name)
        middle = float(dataset.covariate_table()[name].median()) / reference
        for true, size in _IN_KG.items():
            factor = size / _IN_KG[unit]
            if middle > _HEAVY and 1 / _NEAR < middle * factor < _NEAR:
                yield Mixup(
                    name,
                    f"{name} looks like {true} declared as {unit} (its median is {middle:.2g} "
                    f"times the model's reference of {reference:g} {unit})",
                    f"Check the unit of {name}; if it is {true}, divide it by {1 / factor:.5g}.",
                    covariate=name,
                    factor=factor,
                )


def mixup_findings(
    model: PopModel,
    dataset: Dataset,
    declared: Floats,
    measured: Measured,
    what: NDArray[np.int64],
    *,
    seed: int,
) -> list[str]:
    """A sentence on each mistaken unit that explains the data much better than the declared one.

    Parameters
    ----------
    model, dataset
        The model, and the data as declared.
    declared
        DV (draws, n) of the prior predictive of the data as declared.
    measured
        The observations (n).
    what
        Index of the structure's output of each, (n).
    seed
        Seed of ``declared``.
    """
    dimensions = [output.dimension for output in model.structure.outputs]
    concentration = np.array([dimensions[k] == "concentration" for k in what], dtype=bool)
    base = _explained(declared, measured, what)
    found: list[tuple[float, Mixup, float]] = []
    for mixup in _mixups_of(model, dataset):
        simulated = _under(mixup, model, dataset, declared, seed=seed)
        # Had DV been in the other unit, its numbers would be these.
        simulated = np.where(concentration, simulated / mixup.concentration, simulated)
        gain = _explained(simulated, measured, what) - base
        # Weights come here only if they are implausible by themselves: the data may not deny it.
        enough = -_ALIKE if mixup.covariate else _MUCH
        beyond = outside(simulated, measured, central=CENTRAL).mean()
        ratio = typical_ratio(simulated, measured)
        if gain > enough and beyond < _TOLERATED and not abs(math.log10(abs(ratio) or 1e-9)) > 1:
            found.append((gain, mixup, ratio))
    best = max((gain for gain, _, _ in found), default=0.0)
    named = sorted((entry for entry in found if entry[0] > best - _ALIKE), key=lambda e: -e[0])
    before = typical_ratio(declared, measured)
    return [
        _sentence(mixup, gain, before=before, after=after, alone=len(named) == 1)
        for gain, mixup, after in named
    ]


def _sentence(mixup: Mixup, gain: float, *, before: float, after: float, alone: bool) -> str:
    claim = mixup.claim[0].upper() + mixup.claim[1:]
    if not (mixup.covariate or gain > _VERY_MUCH):
        claim = f"Perhaps {mixup.claim}"
    if not alone:
        claim += " (another explanation fits as well)"
    probable = as_times(math.exp(min(gain, 50.0)))
    text = f"{claim}: if so, an observation is on average {probable} as probable"
    if gain < math.log(1.05):
        text = f"{claim}: if so, the data are about as probable"
    if not math.isnan(before + after):
        text += (
            f", and {as_times(after)} what is expected at its time instead of {as_times(before)}"
        )
    return f"{text}. {mixup.remedy}"


def _explained(simulated: Floats, measured: Measured, what: NDArray[np.int64]) -> float:
    """Mean log predictive density of the observations."""
    total = 0.0
    for index in np.unique(what):
        mine = what == index
        own = measured.taken(mine)
        positive = bool((own.value > 0).all())
        total += float(log_densities(simulated[:, mine], own, positive=positive).sum())
    return total / len(what)


def _under(
    mixup: Mixup, model: PopModel, dataset: Dataset, declared: Floats, *, seed: int
) -> Floats:
    """The prior predictive (draws, n) if the mistake was made, in the units declared."""
    if mixup.concentration != 1:
        return declared
    corrected = mixup.corrected(dataset)
    design = design_of(model, corrected)
    return simulate_from_prior(model, corrected, design, draws=len(declared), seed=seed)
