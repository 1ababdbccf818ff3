"""Whether priors and data can be of one world, before anything is fitted."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.design import check_fit, design_of
from popk.diagnostics.explained import (
    CENTRAL,
    Measured,
    as_percent,
    as_times,
    outside,
    simulate_from_prior,
    typical_ratio,
)
from popk.diagnostics.mixups import mixup_findings
from popk.errors import SettingError
from popk.model import PopModel
from popk.population import check_seed
from popk.prior_prediction import check_draws
from popk.structure.events import OBSERVE

__all__ = ["OutputCheck", "PriorCheck", "check_priors"]

type Floats = NDArray[np.float64]
type Bools = NDArray[np.bool_]

_OUTSIDE = 0.05  # share of the data outside the central 99.9 % that is too much
_ORDERS = 10.0  # the data's median may be so many times above or below the prior predictive's
_SCALE = 100.0  # doses over volume: no drug accumulates so far
_TOO_HIGH, _TOO_LOW = 0.05, 0.5  # shares of predicted concentrations beyond that scale
# Hardly a drug reaches it in plasma: as much as all immunoglobulin G there (7 to 16 g/L), or a
# third of all that is dissolved (0.3 mol/L).
_DENSEST = MappingProxyType({"g/L": 10.0, "mol/L": 0.1})
_TRIED = 300  # draws for each hypothesis
_LEAST_DRAWS = 1000  # fewer do not reach the ends of the central 99.9 %


@dataclass(frozen=True)
class OutputCheck:
    """One kind of observation against the prior predictive.

    ``expected`` is the median of the prior predictive over all observations and draws, ``low`` and
    ``high`` its central 95 %, ``trough`` the median of those just before a dose (NaN if there are
    none); ``observed`` is the data's median, ``ratio`` the median of each observation over its own
    prior predictive median, and ``outside`` the share of observations outside the central 99.9 % of
    their own prior predictive (NaN without data).
    """

    name: str
    unit: str
    expected: float
    low: float
    high: float
    trough: float
    n_observed: int
    observed: float
    ratio: float
    outside: float


@dataclass(frozen=True, repr=False)
class PriorCheck:
    """Whether a model's priors and a dataset go together: every figure, and what does not.

    ``findings`` holds one sentence or two for each thing that is wrong: what, by how much, and what
    to look at. ``scale`` is the median of the subjects' largest doses over the typical volume, and
    ``above`` and ``below`` are the shares of predicted concentrations more than 100 times above and
    below it (NaN where the model has no volume).
    """

    plausible: bool
    findings: tuple[str, ...]
    outputs: tuple[OutputCheck, ...]
    scale: float
    scale_unit: str
    above: float
    below: float
    n_draws: int
    seed: int

    def __str__(self) -> str:
        figures = [f"  {line}" for line in self._figures()]
        if self.plausible:
            return "\n".join(["Priors and data go together:", *figures])
        head = "PRIORS AND DATA DO NOT GO TOGETHER, nothing was changed:"
        return "\n".join([head, *(f"  - {text}" for text in self.findings), *figures])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        verdict = "Priors and data go together"
        if not self.plausible:
            verdict = "Priors and data do not go together; nothing was changed"
        found = "".join(f"<li>{escape(text)}</li>" for text in self.findings)
        figures = "".join(f"<li>{escape(line)}</li>" for line in self._figures())
        listed = f"<ul>{found}</ul>" if found else ""
        return f"<div><p><strong>{verdict}</strong></p>{listed}<ul>{figures}</ul></div>"

    def to_json(self) -> str:
        """As JSON; `from_json` reads it back."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> PriorCheck:
        """The check that `to_json` wrote."""
        content = json.loads(text)
        content["findings"] = tuple(content["findings"])
        content["outputs"] = tuple(OutputCheck(**output) for output in content["outputs"])
        return cls(**content)

    def _figures(self) -> Iterator[str]:
        for output in self.outputs:
            unit = "" if output.unit == "1" else f" {output.unit}"
            text = (
                f"{output.name}: prior predictive median {output.expected:.3g}{unit}, 95 % in "
                f"{output.low:.3g} to {output.high:.3g}{unit}"
            )
            if output.n_observed:
                text += f"; {output.n_observed} observations"
            if not math.isnan(output.observed):
                text += f", median {output.observed:.3g}{unit}"
            if not math.isnan(output.ratio):
                text += f" ({output.ratio:.2g} times what is expected of each)"
            if not math.isnan(output.outside):
                text += f"; {as_percent(output.outside)} outside the central 99.9 %"
            yield text
        if not math.isnan(self.scale):
            yield (
                f"dose over typical volume: {self.scale:.3g} {self.scale_unit}; more than 100 "
                f"times above it lie {as_percent(self.above)} of the prior predictive, more than "
                f"100 times below it {as_percent(self.below)}"
            )
        yield f"{self.n_draws} draws from the priors, seed {self.seed}"


def check_priors(model: PopModel, dataset: Dataset, *, draws: int = 1000, seed: int) -> PriorCheck:
    """Whether the priors expect anything like these data, and if not, which unit would explain it.

    Asked of the prior predictive (`popk.prior_predictive`), before any fit: does it lie orders of
    magnitude away from the doses over the volume, or above what plasma holds; what share of the
    data lies outside its central 99.9 %; how far are the data from its median. Then mistaken units
    are tried, one after the other: AMT and DV by 1000, TIME in minutes, hours, days or weeks (of
    the data, or of the priors), a weight in pounds or grams. One that explains the data much better
    than the unit declared is named, with what to do; nothing is changed. The measure is the mean
    log predictive density of the observations, each on its own (a kernel density estimate of its
    simulated values; below a limit of quantification, the share of them below it).

    The same data are used to check the priors and later to fit: let the check find mistakes, not
    choose the priors.

    Parameters
    ----------
    model
        The model.
    dataset
        Data in its units; without observations (`Regimen.dataset`) only the magnitudes are checked.
    draws
        How many draws from the priors, 1000 at least.
    seed
        Seed of the random numbers.

    Raises
    ------
    SettingError
        When the seed or the number of draws makes no sense, or there is nothing to predict.
    DataError, ModelError
        When the data do not fit the model.
    """
    check_seed(seed)
    check_draws(draws, least=_LEAST_DRAWS)
    seen = bool(dataset.is_observation.any())
    design = check_fit(model, dataset) if seen else design_of(model, dataset, everywhere=True)
    if not design.outputs:
        raise SettingError(
            "The data have neither observations nor times of prediction (records with EVID 0 or "
            "2), so there is nothing that the priors could be checked at."
        )
    simulated = simulate_from_prior(model, dataset, design, draws=int(draws), seed=seed)
    measured = Measured.of(dataset) if seen else None
    what = design.events.what[design.events.kind == OBSERVE]
    outputs = tuple(
        _output_check(model, index, simulated, measured, what == index, _troughs(dataset, seen))
        for index in design.outputs
    )
    magnitudes = _magnitudes(model, dataset, simulated, measured, what)
    found = [*_output_findings(outputs), *_magnitude_findings(model, magnitudes)]
    if measured is not None:
        found += mixup_findings(model, dataset, simulated[:_TRIED], measured, what, seed=seed)
    return PriorCheck(
        plausible=not found,
        findings=tuple(found),
        outputs=outputs,
        scale=magnitudes.scale,
        scale_unit=model.units.concentration,
        above=magnitudes.above,
        below=magnitudes.below,
        n_draws=int(draws),
        seed=int(seed),
    )


def _troughs(dataset: Dataset, seen: bool) -> Bools:
    """Which predicted records (n) are the last before a dose of the same subject."""
    table = dataset.table
    dose = np.isin(table["EVID"].values, (1, 4))
    identifier = table["ID"].values
    before = np.concatenate([dose[1:] & (identifier[1:] == identifier[:-1]), [False]])
    predicted = dataset.is_observation if seen else np.isin(table["EVID"].values, (0, 2))
    return np.asarray(before[predicted])


def _output_check(
    model: PopModel,
    index: int,
    simulated: Floats,
    measured: Measured | None,
    mine: Bools,
    troughs: Bools,
) -> OutputCheck:
    output = model.structure.outputs[index]
    values = simulated[:, mine]
    low, expected, high = _quantiles(values, [0.025, 0.5, 0.975])
    (trough,) = _quantiles(simulated[:, mine & troughs], [0.5])
    observed = ratio = beyond = math.nan
    if measured is not None:
        own = measured.taken(mine)
        beyond = float(np.mean(outside(values, own, central=CENTRAL)))
        known = own.quantified
        if known.any():
            observed = float(np.median(own.value[known]))
            ratio = typical_ratio(values, own)
    return OutputCheck(
        name=output.name,
        unit=model.units.of(output.dimension),
        expected=expected,
        low=low,
        high=high,
        trough=trough,
        n_observed=0 if measured is None else int(mine.sum()),
        observed=observed,
        ratio=ratio,
        outside=beyond,
    )


def _quantiles(values: Floats, probabilities: Sequence[float]) -> list[float]:
    """Quantiles of what could be computed; NaN where most could not."""
    known = values[np.isfinite(values)]
    if known.size == 0 or 2 * known.size < values.size:
        return [math.nan] * len(probabilities)
    return [float(value) for value in np.quantile(known, probabilities)]


class _Magnitudes(NamedTuple):
    """Dose over volume, and shares of concentrations far above and below it."""

    scale: float
    above: float
    below: float
    data_below: float
    volume: str
    dose: float
    densest: float = math.inf
    denser: float = 0.0
    data_denser: float = 0.0


def _magnitudes(
    model: PopModel,
    dataset: Dataset,
    simulated: Floats,
    measured: Measured | None,
    what: NDArray[np.int64],
) -> _Magnitudes:
    table = dataset.table
    amounts = np.where(np.isin(table["EVID"].values, (1, 4)), table["AMT"].values, 0.0)
    largest = np.maximum.reduceat(amounts, dataset.starts)
    largest = largest[largest > 0]
    volumes = [p.name for p in model.structure.parameters if p.dimension == "volume"]
    drug = np.array([_is_concentration(model, int(k)) for k in what], dtype=bool)
    if not (largest.size and volumes and drug.any()):
        return _Magnitudes(math.nan, math.nan, math.nan, math.nan, "", math.nan)
    dose = float(np.median(largest))
    scale = dose / dict(model.typical)[volumes[0]].median
    values = simulated[:, drug]
    densest = _densest(model)
    seen_below = seen_denser = 0.0
    if measured is not None:
        seen_below = float(np.mean(measured.value[drug] < scale / _SCALE))
        seen_denser = float(np.mean(measured.value[drug] > densest))
    return _Magnitudes(
        scale=scale,
        above=float(np.mean(values > _SCALE * scale)),
        below=float(np.mean(values < scale / _SCALE)),
        data_below=seen_below,
        volume=volumes[0],
        dose=dose,
        densest=densest,
        denser=float(np.mean(values > densest)),
        data_denser=seen_denser,
    )


def _densest(model: PopModel) -> float:
    """The highest concentration that is plausible in plasma, in the model's unit."""
    for unit, highest in _DENSEST.items():
        if (size := model.units.concentration_in(unit)) is not None:
            return size * highest
    return math.inf


def _is_concentration(model: PopModel, output: int) -> bool:
    return model.structure.outputs[output].dimension == "concentration"


def _output_findings(outputs: tuple[OutputCheck, ...]) -> Iterator[str]:
    for output in outputs:
        unit = "" if output.unit == "1" else f" {output.unit}"
        expects = (
            f"Before the data the model expects a median {output.name} of "
            f"{output.expected:.3g}{unit} (95 % in {output.low:.3g} to {output.high:.3g})"
        )
        if not math.isnan(output.trough):
            expects += f", just before a dose {output.trough:.3g}{unit}"
        if math.isnan(output.expected):
            yield (
                f"The {output.name} could not be computed for most draws from the priors: they "
                "allow values for which the equations have no solution. Look at the widest priors."
            )
        elif output.ratio > _ORDERS or output.ratio < 1 / _ORDERS:
            side = "above" if output.ratio > 1 else "below"
            far = as_times(output.ratio if output.ratio > 1 else 1 / output.ratio)
            yield (
                f"{expects}. The observed median is {output.observed:.3g}{unit}: DV is typically "
                f"{far} {side} what is expected at its time. Look at the priors of the clearances "
                "and volumes, and at the units of AMT, TIME and DV."
            )
        elif output.outside > _OUTSIDE and output.outside * output.n_observed >= 2:
            share = as_percent(output.outside)
            yield (
                f"{expects}. {share} of the {output.n_observed} observed values "
                "lie outside the central 99.9 % of what is expected of each: the priors nearly "
                "exclude them. Widen the priors that rest on least, or look for errors in DV."
            )


def _magnitude_findings(model: PopModel, found: _Magnitudes) -> Iterator[str]:
    unit = model.units.concentration
    given = f"{found.dose:.3g} {model.units.amount} give {found.scale:.3g} {unit}"
    doses = f"the doses over the typical {found.volume} ({given})"
    if found.above > _TOO_HIGH:
        yield (
            f"{as_percent(found.above)} of the concentrations expected before the data are more "
            f"than 100 times above {doses}: no drug accumulates so far. Look for a clearance whose "
            "prior allows almost none, and for a volume whose prior allows a tiny one."
        )
    elif found.denser > _TOO_HIGH and not found.data_denser > _TOO_HIGH / 2:
        yield (
            f"{as_percent(found.denser)} of the concentrations expected before the data are above "
            f"{found.densest:,.6g} {unit}, which hardly any drug reaches in plasma ({given} in the "
            f"typical {found.volume}). Look at the units of volumes and clearances in the priors, "
            "and at the unit of AMT."
        )
    if found.below > _TOO_LOW and not found.data_below > _TOO_LOW / 2:
        yield (
            f"{as_percent(found.below)} of the concentrations expected before the data are more "
            f"than 100 times below {doses}: the drug would be gone at most times of observation. "
            "Look for a clearance whose prior is too high, and at the unit of TIME."
        )
