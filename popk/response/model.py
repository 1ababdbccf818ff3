"""Exposure and outcome in one ordinary PyMC model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.errors import SettingError
from popk.response.exposed import checked
from popk.response.outcomes import Outcomes
from popk.response.representation import represent

if TYPE_CHECKING:
    import pymc as pm

__all__ = ["add_outcome", "build_response", "positions_of"]

type Floats = NDArray[np.float64]


def build_response(exposures: xr.DataTree, outcomes: Outcomes) -> pm.Model:
    """The joint model of exposure and outcome, given the concentrations: p(x | PK) p(y | x).

    An ordinary `pymc.Model`, to be sampled, changed or extended as any other. Exposure is not a
    number put in but a latent variable with the distribution that the fit's draws have
    (`popk.response.represent`), correlations between patients through the population included; so
    its uncertainty is carried, and outcomes say something about exposure in turn. Free variables:
    ``z`` (factor), the standardised population parameters, and ``e`` (subject), each patient's own
    part of the exposure, both standard normal; ``effect``, by step of exposure on the linear
    predictor; ``intercept`` (or what the outcome has instead); ``adjustment`` (covariate), by SD;
    ``between`` and ``b`` (subject), differences between patients. Deterministic: ``step``
    (subject), exposure as steps from the reference. Observed: ``outcome`` (row).

    Parameters
    ----------
    exposures
        From `popk.response.exposures`.
    outcomes
        From `popk.response.read_outcomes`. Patients without outcomes are left out.

    Raises
    ------
    SettingError
        When a patient has outcomes but no exposure, or a covariate does not vary.
    """
    import pymc as pm
    import pytensor.tensor as pt

    subjects, _ = positions_of(exposures, outcomes)
    known = represent(exposures).sel(subject=subjects)
    with pm.Model(coords={"subject": subjects, "factor": known["factor"].values}) as built:
        loading = pm.Data("loading", known["loading"].values, dims=("subject", "factor"))
        own = pm.Data("own", known["own"].values, dims="subject")
        base = pm.Data("base", known["base"].values)
        bend = pm.Data("bend", known["bend"].values)
        score = own * pm.Normal("e", 0.0, 1.0, dims="subject")
        if known.sizes["factor"]:
            score += loading @ pm.Normal("z", 0.0, 1.0, dims="factor")
        beyond = pt.maximum(score[:, None] - known["knot"].values, 0.0)
        step = base[:, 0] + base[:, 1] * score + (bend * beyond * beyond).sum(axis=1)
        add_outcome(pm.Deterministic("step", step, dims="subject"), outcomes, subjects)
    return built


def add_outcome(step: Any, outcomes: Outcomes, subjects: list[str]) -> None:
    """Add effects and the outcome's likelihood to the model on the context stack.

    For a model of one's own, such as that of `popk.build`, to which exposure was added.

    Parameters
    ----------
    step
        Exposure (subject) as steps from a reference, a variable of the model.
    outcomes
        The outcomes.
    subjects
        IDs in the order of ``step``.
    """
    import pymc as pm

    kind, built = outcomes.outcome, pm.modelcontext(None)
    place = {name: k for k, name in enumerate(subjects)}
    of_row = np.array([place[name] for name in outcomes.subjects])
    built.add_coord("row", np.arange(len(outcomes)))
    data = {name: pm.Data(name, values, dims="row") for name, values in outcomes.columns.items()}
    eta = kind.effect.variable("effect") * step[of_row]
    design = standardised(outcomes)
    if design:
        built.add_coord("covariate", list(design))
        gamma = [kind.adjustment.variable(f"adjustment_{name}") for name in design]
        for one, values in zip(gamma, design.values(), strict=True):
            eta = eta + one * values
    if kind.varies(of_row) and kind.between is not None:
        between = kind.between.variable("between")
        effects = pm.Normal("b", 0.0, 1.0, dims="subject")
        eta = eta + (between * effects)[of_row]
    kind.likelihood(eta, data, outcomes.columns)


def standardised(outcomes: Outcomes) -> dict[str, Floats]:
    """Covariates (row) less their mean, by their SD.

    Raises
    ------
    SettingError
        When one does not vary.
    """
    found = {}
    for name, values in outcomes.adjust.items():
        sd = float(values.std())
        if not sd > 0:
            raise SettingError(
                f"The covariate {name} is {values[0]:g} in every row; nothing can be adjusted for "
                "it. Leave it out of adjust."
            )
        found[name] = (values - values.mean()) / sd
    return found


def positions_of(exposures: xr.DataTree, outcomes: Outcomes) -> tuple[list[str], NDArray[np.int64]]:
    """IDs with outcomes in the order of the exposures, and their positions there.

    Raises
    ------
    SettingError
        When the outcomes are none of popk, or a patient has no exposure.
    """
    if not isinstance(outcomes, Outcomes):
        raise SettingError(
            f"The outcomes are {type(outcomes).__name__}; give what popk.response.read_outcomes "
            "returned."
        )
    held = [str(name) for name in checked(exposures)["exposure"].to_dataset()["subject"].values]
    unknown = [name for name in dict.fromkeys(outcomes.subjects) if name not in held]
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise SettingError(
            f"ID {', '.join(unknown[:5])}{more} has an outcome, but is not among the "
            f"{len(held)} patients of the fit, so there is no exposure. Fit their concentrations "
            "too, or leave their rows out."
        )
    wanted = set(outcomes.subjects)
    kept = [k for k, name in enumerate(held) if name in wanted]
    return [held[k] for k in kept], np.array(kept)


def simulated_outcomes(
    outcomes: Outcomes,
    subjects: list[str],
    step: Floats,
    drawn: Mapping[str, Floats],
    rng: np.random.Generator,
) -> dict[str, Floats]:
    """Columns of the outcomes drawn anew, for exposures ``step`` (subject) and parameters."""
    place = {name: k for k, name in enumerate(subjects)}
    of_row = np.array([place[name] for name in outcomes.subjects])
    eta = float(drawn["effect"]) * step[of_row]
    for name, values in standardised(outcomes).items():
        eta = eta + float(drawn[f"adjustment_{name}"]) * values
    if "between" in drawn:
        eta = eta + float(drawn["between"]) * rng.standard_normal(len(subjects))[of_row]
    return outcomes.outcome.simulated(eta, drawn, outcomes.columns, rng)
