"""What a model needs to know of a patient, and what its fit's data looked like."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from popk.dataset import Dataset
from popk.model import PopModel
from popk.units import Units

__all__ = ["Code", "Covariate", "Needs", "needs_of"]

_MASS = frozenset({"kg", "g", "mg"})
_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Covariate:
    """A covariate that is asked for.

    ``choices`` are its levels, where it has such; ``usual`` is the median in the fit (NaN where
    there is none); ``optional`` says that the model goes on without it; ``fault`` why a value
    cannot be used, empty where it can.
    """

    name: str
    unit: str
    choices: tuple[float, ...]
    usual: float
    optional: bool
    positive: bool
    fault: Callable[[float], str]

    @property
    def words(self) -> str:
        """Its name, spelled out where it is a usual one."""
        said = {"WT": "Weight (WT)", "AGE": "Age (AGE)", "ALB": "Albumin (ALB)",
                "ADA": "Anti-drug antibodies (ADA)", "SEX": "Sex (SEX)"}  # fmt: skip
        return said.get(self.name, self.name)


@dataclass(frozen=True)
class Code:
    """A further column of each row: OCC, and of samples alone DVID and ASSAY.

    ``choices`` are the numbers that it may have; empty where any does.
    """

    name: str
    words: str
    choices: tuple[int, ...] = ()
    of_samples: bool = True


@dataclass(frozen=True)
class Needs:
    """What is asked for, in which units, and of what magnitude it usually is.

    ``per_day`` is how many of the model's time units a day has; ``highest_target`` the end of the
    target's slider; ``output`` the DVID of all samples where the fit observes one output that is
    not the first, or else 0.
    """

    units: Units
    covariates: tuple[Covariate, ...]
    codes: tuple[Code, ...]
    per_day: float
    usual_dose: float
    usual_target: float
    highest_target: float
    output: int
    carry: str | None


def needs_of(model: PopModel, own: Dataset, outputs: tuple[int, ...]) -> Needs:
    """What the model needs, with magnitudes from the data of its fit.

    Parameters
    ----------
    model, own
        The model, and the fit's data.
    outputs
        Indices of the structure's outputs that these observe.
    """
    table = own.table
    given = table["AMT"].values[np.isin(table["EVID"].values, (1, 4))]
    seen = table["DV"].values[own.is_observation]
    high = float(np.quantile(seen, 0.9)) if len(seen) else 10.0
    targets = model.card.targets if model.card is not None else ()
    usual = next((value for what, value, _ in targets if what == "trough"), _round(high / 4))
    return Needs(
        own.units, tuple(_covariates(model, own)), tuple(_codes(model, outputs)),
        model.units.time_in("d"), float(np.median(given)) if len(given) else 100.0, usual,
        max(_round(high), 2 * usual), outputs[0] + 1 if len(outputs) == 1 and outputs[0] else 0,
        own.carry,
    )  # fmt: skip


def _round(value: float) -> float:
    """The next of 1, 2, 5, 10 … times a power of ten."""
    if not value > 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return float(next(step * size for step in _STEPS if step * size >= value * (1 - 1e-12)))


def _covariates(model: PopModel, own: Dataset) -> list[Covariate]:
    category = model.category
    names = [name for effect in model.covariates for name in effect.covariates]
    names += [level.covariate for level in model.levels]
    names += [one.covariate for one in model.latent]
    names += [category.covariate] if category is not None else []
    unknown = {one.covariate for one in model.latent}
    found = []
    for name in dict.fromkeys(names):
        unit = own.units.covariate(name) or "1"
        values = own.table[name].values if name in own.table else np.zeros(0)
        values = values[np.isfinite(values)]
        levels: tuple[float, ...] = ()
        for effect in model.covariates:
            if name in effect.covariates and effect.kind == "fold":
                levels = (0.0, 1.0)
            elif name in effect.covariates and effect.kind == "categorical":
                levels = tuple(sorted({*dict(effect.factors), effect.reference}))  # type: ignore[attr-defined]
        if category is not None and category.covariate == name:
            levels, unknown = category.levels, unknown | {name}
        usual = float(np.median(values)) if len(values) else float("nan")
        found.append(
            Covariate(
                name, unit, levels, usual, name in unknown, unit in _MASS, _fault_of(model, name)
            )
        )
    return found


def _fault_of(model: PopModel, name: str) -> Callable[[float], str]:
    effects = [effect for effect in model.covariates if name in effect.covariates]

    def fault(value: float) -> str:
        return next(filter(None, (effect.fault(name, value) for effect in effects)), "")

    return fault


def _codes(model: PopModel, outputs: tuple[int, ...]) -> list[Code]:
    found = []
    if model.iov.effects:
        found.append(Code("OCC", "occasion (OCC)", of_samples=False))
    if len(outputs) > 1:
        known = tuple(k + 1 for k in outputs)
        found.append(Code("DVID", "what was measured (DVID)", known))
    assays: dict[int, None] = {}
    for k in outputs:
        error = model.error.of(model.structure.outputs[k].name)
        assays |= dict.fromkeys(() if error is None else error.assays)
    if assays:
        found.append(Code("ASSAY", "laboratory (ASSAY)", tuple(assays)))
    return found
