"""Where each patient stands: posterior draws and the present that every question starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.design import design_of
from popk.errors import SettingError
from popk.individual import Trough, patients_of
from popk.individual.forecast import Present, present_of
from popk.individual.posterior import cohort_posterior, patient_posterior, patient_seed
from popk.model import PopModel
from popk.monitoring import from_json, individualise
from popk.population import PopulationDraws, check_seed, dataset_of, model_of, thinned
from popk.statistics import Observed
from popk.structure.events import DOSE

__all__ = ["Patients", "Standing", "standings_of"]

type Floats = NDArray[np.float64]

_DRAWS = 250  # of the population that `individualise` combines with a patient's data, by default


@dataclass(frozen=True)
class Standing:
    """One patient: S equally weighted draws of its parameters, and its doses so far.

    ``parameters`` (S, n_rows, m); ``sigma``, the residual error of each draw (S, 1), by name;
    ``lloq``, the limit of its latest sample (NaN if none); ``present_interval``, the time between
    its last two doses (NaN with a single one). Times in the units of the data. ``reliable`` and
    ``note`` are those of the advice. ``seed`` and the ID fix every random number.
    """

    model: PopModel
    present: Present
    parameters: Floats
    sigma: Mapping[str, Floats]
    lloq: float
    reliable: bool
    note: str
    seed: int

    @property
    def subject(self) -> str:
        """ID."""
        return self.present.subject

    @property
    def size(self) -> int:
        """Number of draws, S."""
        return len(self.parameters)

    @property
    def per_week(self) -> float:
        """How many of the data's time units a week is."""
        return self.model.units.time_in("wk")

    @property
    def per_day(self) -> float:
        """How many of the data's time units a day is."""
        return self.model.units.time_in("d")

    @property
    def present_interval(self) -> float:
        """Time between the last two doses; NaN with a single one not at steady state."""
        history = self.present.history
        dose = history.kind == DOSE
        repeats, gap = history.repeats[dose], history.interval[dose]
        last = history.time[dose] + (repeats - 1) * gap
        runs = [t - g * np.arange(min(n, 2)) for t, g, n in zip(last, gap, repeats, strict=True)]
        times = np.unique(np.concatenate(runs))
        if len(times) > 1:
            return float(times[-1] - times[-2])
        steady = gap[history.steady[dose] > 0]
        return float(steady[-1]) if len(steady) else float("nan")

    def random(self, purpose: str) -> np.random.Generator:
        """Random numbers that depend on the seed, the ID and what they are for."""
        return patient_seed(self.seed, f"{self.subject}/{purpose}")

    def unread(self, count: int) -> Observed:
        """``count`` samples of the output that is forecast, not measured yet."""
        output = self.model.structure.outputs[self.present.output].name
        described, error = self.model.error.outputs, self.model.error.of(output)
        if error is None or (described and output not in described):
            raise SettingError(
                f"The model has no residual error for {output}, so a measurement of it cannot be "
                "simulated; ask about the true concentration."
            )
        assay = error.assays[0] if error.assays else 0
        whole, one = np.ones(count, dtype=np.int64), np.ones(count)
        place = described.index(output) if described else 0
        return Observed(
            np.full(count, np.nan), one, one, 0 * whole, place * whole, assay * whole, 0 * whole,
            one,
        )  # fmt: skip

    def measured(self, values: Floats, purpose: str) -> Floats:
        """True concentrations (S, n) with a new residual error each, as if no limit cut them."""
        rng, known = self.random(purpose), np.nan_to_num(values, nan=1.0)
        found = self.model.error.simulate(self.unread(values.shape[1]), known, self.sigma, rng)
        return np.where(np.isnan(values), np.nan, found)


@dataclass(frozen=True)
class Patients:
    """Everybody asked about, with the fit and the advice that the answers rest on."""

    fit: xr.DataTree
    advice: xr.DataTree
    each: tuple[Standing, ...]

    @property
    def model(self) -> PopModel:
        """The model."""
        return self.each[0].model


def standings_of(
    fit: xr.DataTree,
    patients: xr.DataTree | Dataset | Sequence[object] | None,
    *,
    seed: int = 1,
) -> Patients:
    """Posterior draws and present state of each patient.

    Parameters
    ----------
    fit
        What `popk.sample` returned.
    patients
        What `popk.individualise` returned for this fit, whose draws are then used as they are; or
        what it takes: new patients, IDs of the fit, or None for everybody in the fit.
    seed
        Seed; where an advice is given, that of the random numbers added to its draws.

    Raises
    ------
    SettingError
        When the advice is not of this fit.
    DataError, ModelError, FitError
        As `popk.individualise` raises them.
    """
    check_seed(seed)
    model = model_of(fit)
    advice = patients if isinstance(patients, xr.DataTree) else _advised(fit, patients, seed)
    _check_advice(fit, advice)
    dataset = Dataset.from_xarray(advice["data"].to_dataset())
    design = design_of(model, dataset)
    outputs = model.structure.outputs
    observed = design_of(model, dataset_of(fit)).outputs
    measured = [k for k in observed if outputs[k].dimension == "concentration"]
    presents = present_of(model, dataset, output=measured[0] if measured else 0)
    posterior, decision = advice["posterior"].to_dataset(), advice["decision"].to_dataset()
    draws = posterior["draw"].transpose("subject", "sample").values.astype(np.int64)
    alone = posterior["parameters"].transpose("subject", "sample", "parameter").values
    several = bool(np.any(np.diff(design.rows.first) > 1)) or bool(model.iov.effects)
    every = PopulationDraws.of(fit)
    rows = _with_rows(fit, advice, dataset, presents) if several else list(alone[:, :, None])
    found = tuple(
        Standing(
            model, present, np.asarray(rows[k], dtype=float), every.taken(draws[k]).sigma,
            _limit(dataset, present.subject), *_trusted(decision, k), int(seed),
        )
        for k, present in enumerate(presents)
    )  # fmt: skip
    return Patients(fit, advice, found)


def _trusted(decision: xr.Dataset, k: int) -> tuple[bool, str]:
    """Whether a patient's draws are to be used, and what is said of it."""
    reliable, note = bool(decision["reliable"].values[k]), str(decision["note"].values[k])
    if "withheld" not in decision or not decision["withheld"].values[k]:
        return reliable, note
    found = from_json(str(decision["findings"].values[k]))
    why = [one.sentence for one in found if one.severity == "withheld"]
    return False, " ".join([note, *why]).strip()


def _advised(
    fit: xr.DataTree, patients: Dataset | Sequence[object] | None, seed: int
) -> xr.DataTree:
    """The posterior of `popk.individualise`, and what speaks against trusting it."""
    unit = model_of(fit).units.concentration
    return individualise(fit, patients, target=Trough(1.0, unit), weeks=(1,), seed=seed)


def _check_advice(fit: xr.DataTree, advice: xr.DataTree) -> None:
    if advice.attrs.get("kind") != "popk advice":
        raise SettingError(
            f"The patients were given as a tree of the kind {advice.attrs.get('kind')!r}; give "
            "what popk.individualise returned, a data set, IDs of the fit, or None for everybody "
            "in the fit."
        )
    for own, name in (("fit_model_hash", "model"), ("fit_data_hash", "data")):
        if advice.attrs[own] != fit.attrs[f"{name}_hash"]:
            raise SettingError(
                f"The advice was made from another fit: its {name} hash is "
                f"{advice.attrs[own][:12]}, this fit's is {fit.attrs[f'{name}_hash'][:12]}. Give "
                "the fit that the advice was made from."
            )


def _with_rows(
    fit: xr.DataTree, advice: xr.DataTree, dataset: Dataset, presents: Sequence[Present]
) -> list[Floats]:
    """Draws (S, n_rows, m) of patients whose parameters change, of which the advice keeps one row.

    They are the advice's, drawn again from its seed.
    """
    total = len(thinned(fit, None))
    population = PopulationDraws.of(fit, min(_DRAWS, total))
    kept = advice["posterior"]["parameters"].transpose("subject", "sample", "parameter").values
    samples, seed = kept.shape[1], int(advice.attrs["seed"])
    chosen = np.linspace(0, total - 1, samples).round().astype(np.int64)
    sources = advice["decision"].to_dataset()["source"].values
    found = []
    for k, patient in enumerate(patients_of(population, dataset)):
        rng = patient_seed(seed, patient.subject)
        posterior = (
            cohort_posterior(fit, patient, chosen, rng)
            if sources[k] == "cohort"
            else patient_posterior(population, patient, samples=samples, rng=rng)
        )
        again = posterior.parameters
        if not np.array_equal(again[:, presents[k].row], kept[k], equal_nan=True):
            raise SettingError(
                f"The parameters of ID {patient.subject} change over time, and the advice keeps "
                "those after the last record alone; they could not be drawn again as they were. "
                "Make the advice with the settings as they are (draws=250), or give the patients' "
                "data instead of it."
            )
        found.append(again)
    return found


def _limit(dataset: Dataset, subject: str) -> float:
    """LLOQ of a patient's latest sample; NaN where there is none."""
    table = dataset.table
    own = (table["ID"].values == subject) & dataset.is_observation
    limits = table["LLOQ"].values[own].astype(float)
    limits = limits[np.isfinite(limits)]
    return float(limits[-1]) if len(limits) else float("nan")
