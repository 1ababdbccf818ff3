"""From what a user asks for to what is calibrated, or a sentence on why it cannot be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from popk.calibration.setting import Calibration, observing
from popk.calibration.truth import troughs_of, truth_of
from popk.dataset import Dataset
from popk.design import check_fit
from popk.diagnostics import verdict_of
from popk.errors import PopkError, SettingError
from popk.individual.forecast import present_of
from popk.inference import Method
from popk.model import PopModel
from popk.population import FitError, dataset_of, model_of

__all__ = ["calibration_of"]

_GUESSED = 40  # truths that the usual target comes from
_QUANTITIES = "population parameters, random effects and the log likelihood"


def calibration_of(  # noqa: PLR0913
    model: PopModel | None,
    design: Dataset | None,
    source: xr.DataTree | None,
    analysed: PopModel | None,
    *,
    method: Method,
    seed: int,
    ranks: int,
    interval: float | None,
    target: float | None,
) -> Calibration:
    """What was asked for, once it is certain that it can be done.

    Raises
    ------
    PopkError
        In a sentence, when it cannot.
    """
    if isinstance(ranks, bool) or not isinstance(ranks, int | np.integer) or ranks < 20:
        raise SettingError(f"ranks is {ranks!r}; give a whole number of 20 or more.")
    for name, value in (("interval", interval), ("target", target)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise SettingError(f"The {name} is {value!r}; give a number above zero.")
    if source is not None:
        model, design = _of_fit(source, model, design, analysed)
    if model is None or design is None:
        raise SettingError(
            "There is nothing to simulate: give a model and a design, or a fit whose draws "
            "generate the replicates."
        )
    analysed = model if analysed is None else analysed
    _check_models(model, analysed)
    design = design if source is not None else observing(design)
    for one in (model, analysed):
        check_fit(one, design)
    found = Calibration(
        model=model, analysed=analysed, design=design, method=method, seed=int(seed),
        ranks=int(ranks), interval=float("nan"), target=float("nan"), source=source,
    )  # fmt: skip
    return _with_trough(found, interval, target)


def _of_fit(
    source: xr.DataTree, model: PopModel | None, design: Dataset | None, analysed: PopModel | None
) -> tuple[PopModel, Dataset]:
    if model is not None or design is not None or analysed is not None:
        raise SettingError(
            "A fit brings its own model and design: give either it, or a model and a design."
        )
    if not verdict_of(source).converged:
        raise FitError(
            "The fit has not converged, so its draws are not those of its posterior and cannot "
            "generate replicates of it. Sample longer, or by another method."
        )
    return model_of(source), dataset_of(source)


def _check_models(model: PopModel, analysed: PopModel) -> None:
    for one in (model, analysed):
        if one.latent or one.category is not None:
            names = [own.covariate for own in one.latent]
            names += [] if one.category is None else [one.category.covariate]
            raise SettingError(
                f"Model {one.name} describes the covariate {', '.join(names)} itself, whose "
                "measured values belong to its data; popk.sbc does not simulate them. Impute it "
                "when reading the design, and leave it out of the model's latent covariates."
            )
    if _ranked(model) != _ranked(analysed):
        raise SettingError(
            f"Model {analysed.name} has other parameters or random effects than {model.name}, "
            "which simulates; only what both have could be ranked, so give models that differ in "
            "their priors or distributions alone."
        )


def _ranked(model: PopModel) -> list[object]:
    """Names of everything that can be ranked."""
    levels = [(one.covariate, one.effects) for one in model.levels]
    names = sorted(p.name for p in model.parameters)
    return [names, model.iiv.effects, model.iov.effects, levels]


def _with_trough(found: Calibration, interval: float | None, target: float | None) -> Calibration:
    """With an interval and a target, the usual ones where none is given."""
    try:
        presents = present_of(found.model, found.design)
        if any(present.amount == 0 for present in presents):
            raise SettingError("A patient's last dose has AMT 0, so none can be repeated.")
        usual = np.array([present.usual_interval for present in presents])
        if interval is None and np.isnan(usual).all():
            raise SettingError("No patient has two doses; give the interval.")
        interval = float(np.nanmedian(usual)) if interval is None else float(interval)
    except (PopkError, ValueError) as fault:
        if interval is not None or target is not None:
            raise
        why = str(fault) if isinstance(fault, PopkError) else "a patient has no dose."
        return replace(found, notes=(f"No trough is predicted, only {_QUANTITIES}: {why}",))
    found = replace(found, interval=interval)
    return replace(found, target=_usual_target(found) if target is None else float(target))


def _usual_target(setting: Calibration) -> float:
    """A target that half of the patients reach, in two digits; no replicate uses these draws."""
    found = []
    for number in range(_GUESSED):
        rng = np.random.default_rng([setting.seed, 1, number])
        found.append(troughs_of(setting, truth_of(setting, number, rng), rng))
    values = np.concatenate(found)
    middle = float(np.median(values[np.isfinite(values) & (values > 0)]))
    return float(f"{middle:.2g}")
