"""Which sub-population each subject of a fit belongs to, draw by draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.design import Design, subject_of_output
from popk.levels import effects_in_posterior
from popk.model import PopModel
from popk.observations import observations
from popk.population import PopulationDraws
from popk.prediction import simulate_rows
from popk.statistics import NUMPY, class_probabilities, drawn_labels

__all__ = ["LABELS", "with_labels"]

type Floats = NDArray[np.float64]

# Variables that follow from others and are left out of the table of convergence: where a class is
# certain they are constant.
LABELS = ("class_probability", "label")


def with_labels(
    posterior: xr.Dataset,
    model: PopModel,
    dataset: Dataset,
    design: Design,
    rng: np.random.Generator,
) -> xr.Dataset:
    """The posterior with the classes of the subjects; as it is where the model has none.

    The sampler sums the labels out. Given a draw, a subject's class has a probability by Bayes'
    formula, and a label drawn from it completes the draw from the joint posterior.

    Parameters
    ----------
    posterior
        Draws of the population parameters and either ``class_probability`` with random effects and
        parameters by class, as the model of `popk.graph.build` has them, or ``eta`` (and ``kappa``)
        from the joint posterior, given which the probabilities are worked out.
    model, dataset, design
        What was fitted to what.
    rng
        Random numbers for the labels.

    Returns
    -------
    The same with ``class_probability`` (chain, draw, subject, class), ``label`` (chain, draw,
    subject), the position of a class drawn by it, and ``eta``, ``kappa`` and ``parameters`` (chain,
    draw, subject, parameter) of a subject of that class.
    """
    if not model.classes:
        return posterior
    if "class_probability" not in posterior:
        posterior = _given_effects(posterior, model, dataset, design)
    dims = ("chain", "draw", "subject")
    probability = posterior["class_probability"].transpose(*dims, "class").values
    label = drawn_labels(probability, rng, probability.shape[:-1])
    classes = ", ".join(f"{k} {name}" for k, name in enumerate(model.classes))
    kind = "sub-population" if model.category is None else f"level of {model.category.covariate}"
    found: dict[str, Any] = {
        "class_probability": (
            (*dims, "class"),
            probability,
            {"units": "1", "long_name": f"probability of each {kind} under the draw"},
        ),
        "label": (
            dims,
            label,
            {"units": "1", "long_name": f"{kind}, drawn by class_probability: {classes}"},
        ),
    }
    own = xr.DataArray(label, dims=dims)
    of_occasion = own[:, :, design.occasion_subject].rename(subject="occasion")
    for name, which in (("eta", own), ("kappa", of_occasion), ("parameters", own)):
        if f"class_{name}" in posterior:
            found[name] = posterior[f"class_{name}"].isel({"class": which}).drop_vars("class")
    return posterior.drop_vars("class_probability").assign(found)


def _given_effects(
    posterior: xr.Dataset, model: PopModel, dataset: Dataset, design: Design
) -> xr.Dataset:
    """With ``class_probability`` given the random effects, and ``class_parameters``."""
    lead = (posterior.sizes["chain"], posterior.sizes["draw"])
    size, n = lead[0] * lead[1], dataset.n_subjects

    def flat(name: str) -> Floats:
        values = posterior[name].transpose("chain", "draw", ...).values
        return np.asarray(values, dtype=float).reshape(size, *values.shape[2:])

    population = PopulationDraws(
        model,
        {p.name: flat(p.name) for p in model.parameters},
        levels=effects_in_posterior(model, posterior, np.arange(size)),
    )
    eta = flat("eta") if model.iiv.effects else np.zeros((size, n, 0))
    kappa = flat("kappa") if model.iov.effects else None
    latent = flat("latent_covariates") if design.missing else None
    observed = observations(model, dataset, design.events)
    owner = subject_of_output(design.events)
    likelihood = np.zeros((size, n, len(model.classes)))
    firsts = []
    for k in range(len(model.classes)):
        theta = population.row_parameters(design, eta, kappa, latent, labels=np.full((1, n), k))
        firsts.append(theta[:, design.first].reshape(*lead, n, -1))
        ipred = simulate_rows(model, theta, design.events)
        with np.errstate(all="ignore"):  # in a class that is not the subject's anything may happen
            each = model.error.log_likelihood(observed, ipred, population.sigma, NUMPY)
        np.add.at(likelihood[:, :, k].T, owner, np.asarray(each).T)
    probability = class_probabilities(population.log_shares[:, None], likelihood)
    known = design.labels >= 0
    probability[:, known] = np.eye(len(model.classes))[design.labels[known]]
    dims = ("chain", "draw", "subject")
    return posterior.assign(
        class_probability=((*dims, "class"), probability.reshape(*lead, n, -1)),
        class_parameters=(("class", *dims, "parameter"), np.stack(firsts)),
    ).assign_coords(
        {
            "class": list(model.classes),
            "subject": list(dataset.subjects),
            "parameter": list(model.structure.names),
        }
    )
