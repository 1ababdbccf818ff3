"""One replicate: simulate, fit, and rank the truth among the draws of the fit."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.calibration.setting import Calibration
from popk.calibration.truth import Simulated, log_likelihood_of, simulate
from popk.diagnostics import verdict_of
from popk.errors import PopkError
from popk.individual import individualise
from popk.inference import NUTS, SMC, Marginal, Method, sample
from popk.population import FitError, thinned

__all__ = ["FAILED", "RANKED", "replicated"]

type Floats = NDArray[np.float64]
type Content = dict[str, Any]

RANKED, FAILED = "ranked", "failed"
_JUDGED = 500  # draws of each patient behind the probability, as popk.individualise has them
_FEWEST = 20  # nearly independent draws, below which a rank says nothing


def replicated(setting: Calibration, number: int) -> Content:
    """What is kept of a replicate, as plain values; a failure is one of the outcomes.

    Returns
    -------
    ``status``, ``failure`` (a sentence, or empty), ``converged``, ``verdict`` (what failed),
    ``draws`` (those ranked among), ``seconds`` of processor time, ``pits``: for each quantity a
    list, one number for each subject where it is of subjects, which are uniform between 0 and 1 if
    the inference is calibrated; and ``said`` and ``happened``, the probability of a trough at or
    above the target and whether it was, for each subject.
    """
    began = time.process_time()
    found: Content = {
        "replicate": number, "status": FAILED, "failure": "", "converged": False, "verdict": [],
        "draws": 0, "pits": {}, "said": [], "happened": [],
    }  # fmt: skip
    try:
        simulated = simulate(setting, number)
        fitted = _fitted(setting, simulated, number)
        verdict = verdict_of(fitted)
        found |= {"converged": verdict.converged, "verdict": list(verdict.failures)}
        found |= _ranked(setting, simulated, fitted, number) | {"status": RANKED}
    except (ValueError, ArithmeticError, RuntimeError, np.linalg.LinAlgError) as fault:
        kind = "" if isinstance(fault, PopkError) else f"{type(fault).__name__}: "
        found["failure"] = f"{kind}{fault}"
    return found | {"seconds": time.process_time() - began}


def _fitted(setting: Calibration, simulated: Simulated, number: int) -> xr.DataTree:
    method, seed = _alone(setting.method), _seed(setting, 3, number)
    return sample(setting.analysed, simulated.data, method=method, seed=seed, progress=False)


def _seed(setting: Calibration, what: int, number: int) -> int:
    return int(np.random.SeedSequence([setting.seed, what, number]).generate_state(1)[0])


def _alone(method: Method) -> Method:
    """The method on one processor: replicates are what runs side by side."""
    return replace(method, cores=1) if isinstance(method, Marginal | NUTS | SMC) else method


def _ranked(
    setting: Calibration, simulated: Simulated, fitted: xr.DataTree, number: int
) -> Content:
    rng = np.random.default_rng([setting.seed, 4, number])
    total = fitted["posterior"].sizes["chain"] * fitted["posterior"].sizes["draw"]
    effective = np.asarray(fitted["convergence"].to_dataset()["ess_bulk"].values, dtype=float)
    draws = int(min(setting.ranks, total, np.nan_to_num(effective, nan=0.0).min(initial=total)))
    if draws < _FEWEST:
        raise FitError(
            f"The fit has {draws} nearly independent draws (of {total}), too few to rank among."
        )
    chosen = thinned(fitted, draws)
    pits = {}
    for name, (truth, values) in _quantities(setting, simulated, fitted, chosen).items():
        pits[name] = _places(truth, values, rng).tolist()
    found: Content = {"draws": draws}
    if setting.predicts:
        troughs, said = _advised(setting, fitted, number)
        few = troughs[np.linspace(0, len(troughs) - 1, draws).round().astype(np.int64)]
        pits["trough"] = _places(simulated.troughs, few, rng).tolist()
        happened = simulated.troughs >= setting.target
        found |= {"said": said.tolist(), "happened": happened.tolist()}
    return found | {"pits": pits}


def _quantities(
    setting: Calibration, simulated: Simulated, fitted: xr.DataTree, chosen: NDArray[np.int64]
) -> dict[str, tuple[Floats, Floats]]:
    """Truth (n) and draws (S, n) of every quantity but the trough."""
    posterior, true = fitted["posterior"].to_dataset(), simulated.truth["posterior"].to_dataset()

    def both(name: str, dims: tuple[str, ...]) -> tuple[Floats, Floats]:
        own, other = (
            one[name].transpose("chain", "draw", *dims).values.astype(float)
            for one in (true, posterior)
        )
        flat = other.reshape(-1, *other.shape[2:])[chosen]
        return own[0, 0], flat

    found: dict[str, tuple[Floats, Floats]] = {}
    for parameter in setting.model.parameters:
        truth, draws = both(parameter.name, ())
        if np.ptp(draws) > 0:  # not a fixed value
            found[parameter.name] = truth[None], draws[:, None]
    likelihood = fitted["log_likelihood"]["DV"].transpose("chain", "draw", "observation").values
    total = likelihood.sum(axis=2, dtype=float).ravel()[chosen]
    true_total = log_likelihood_of(simulated.truth, setting.analysed, simulated.data)
    found["log likelihood"] = np.array([true_total]), total[:, None]
    model = setting.model
    effects = [("eta", ("subject", "effect"), model.iiv.effects)]
    effects += [("kappa", ("occasion", "occasion_effect"), model.iov.effects)]
    effects += [(one.effects_name, one.dims, one.effects) for one in model.levels]
    for name, dims, names in effects:
        if names:
            truth, draws = both(name, dims)
            found |= {f"{name}[{n}]": (truth[:, k], draws[..., k]) for k, n in enumerate(names)}
    return found


def _places(truth: Floats, draws: Floats, rng: np.random.Generator) -> Floats:
    """The truth's place (n) among draws (S, n): uniform on 0 to 1 if it is one more of them.

    The rank has S + 1 possible values; a uniform number spreads each over its share of the
    interval, so that counts of draws that differ between replicates go together, and decides
    among ties.

    Raises
    ------
    FitError
        When a draw or the truth is not a number.
    """
    if not (np.isfinite(truth).all() and np.isfinite(draws).all()):
        raise FitError("The fit has draws that are not finite numbers.")
    below, same = (draws < truth).sum(axis=0), (draws == truth).sum(axis=0)
    return np.asarray((below + rng.random(len(truth)) * (same + 1)) / (len(draws) + 1))


def _advised(setting: Calibration, fitted: xr.DataTree, number: int) -> tuple[Floats, Floats]:
    """Troughs (S, n_subjects) and P(trough >= target) as `popk.individualise` gives them."""
    advice = individualise(
        fitted, target=setting.trough, weeks=(setting.weeks,), seed=_seed(setting, 5, number),
        draws=1, samples=_JUDGED,
    )  # fmt: skip
    troughs = advice["posterior"]["troughs"].transpose("sample", "subject", "week").values
    said = advice["decision"]["probability"].transpose("subject", "week").values
    return troughs[..., 0].astype(float), said[:, 0].astype(float)
