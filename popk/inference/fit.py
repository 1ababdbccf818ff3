"""From a model and data to a fit: the posterior, what it rests on, and whether to believe it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.design import Design, check_fit
from popk.diagnostics import convergence_table, judge
from popk.individual import find_modes, patients_of, propose
from popk.inference.classes import LABELS, with_labels
from popk.inference.marginal import Marginal
from popk.inference.nuts import NUTS, Progress
from popk.inference.progress import silent, terminal_progress
from popk.latent import latent_of
from popk.model import PopModel, PopulationParameter
from popk.observations import observations, readings
from popk.population import PopulationDraws, check_seed, effects_of, thinned
from popk.prediction import labels_of, output_names, simulate_rows, units_of_outputs
from popk.statistics import NUMPY, Coefficient, DerivedShare

__all__ = ["sample"]

type Floats = NDArray[np.float64]
type Method = NUTS | Marginal

_PREDICTED = 400  # draws for which observations are simulated
_MARGINAL = 400  # draws for which each subject's random effects are integrated out
_EACH = 12  # proposals per subject and draw for that integral
_VERSIONS = ("popk", "pymc", "pytensor", "nutpie", "numba", "numpy", "xarray", "arviz-stats")


def sample(
    model: PopModel,
    dataset: Dataset,
    method: Method | None = None,
    *,
    seed: int,
    progress: bool | Progress = True,
) -> xr.DataTree:
    """Sample the posterior of a population model.

    Parameters
    ----------
    model
        The model.
    dataset
        The data, in the model's units.
    method
        How to sample: `Marginal` or `NUTS`; `Marginal()` if None.
    seed
        Seed of all random numbers.
    progress
        Show progress in the terminal (True), not at all (False), or call a function with the stage,
        what is done of it, its total, and the divergences so far.

    Returns
    -------
    A DataTree with the groups

    - ``posterior``: population parameters (chain, draw), ``eta`` (…, subject, effect), ``kappa``
      (…, occasion, occasion_effect) where the model has variability between occasions,
      ``latent_covariates`` (…, missing) where one is missing in a subject, ``eta_SITE`` (…,
      site_SITE, effect_SITE) where SITE is a further level of variability, and
      ``parameters`` (…, subject, parameter), with units; where covariates or occasions
      change within a subject, the latter are those at its first record (`popk.predict` gives all).
      With sub-populations ``class_probability`` (…, subject, class) under the draw, and ``label``
      (…, subject), a class drawn by it, whose ``eta`` and ``parameters`` they are;
    - ``prior``: the population parameters (chain, draw);
    - ``posterior_predictive``: ``IPRED`` and ``DV`` (…, observation) for thinned draws, ``DV``
      with residual error and not cut at a limit of quantification;
    - ``observed_data``: ``DV``, ``cens``, ``lloq`` and, if given, ``uloq`` (observation), as CENS,
      LLOQ and ULOQ of the data;
    - ``log_likelihood``: ``DV`` (…, observation), conditional on the random effects and ``label``;
    - ``log_likelihood_subject``: ``DV`` (…, subject), with the subject's random effects (and what
      of its covariates is missing) integrated out and its class summed out, given the covariates
      that were measured and the effects of further levels (sites), for thinned draws: the one for
      leaving patients out;
    - ``sample_stats``, ``convergence`` (R-hat and ESS of every quantity) and ``data``;

    and in ``attrs`` the model, its hash, the data's hash, seed, method, versions and the verdict.

    Raises
    ------
    DataError, ModelError, SettingError
        When the data do not fit the model, or the seed makes no sense.
    """
    began = time.perf_counter()
    check_seed(seed)
    method = Marginal() if method is None else method
    if callable(progress):
        return _sample(model, dataset, method, seed, progress, began)
    with terminal_progress() if progress else silent() as report:
        return _sample(model, dataset, method, seed, report, began)


def _sample(
    model: PopModel, dataset: Dataset, method: Method, seed: int, progress: Progress, began: float
) -> xr.DataTree:
    design = check_fit(model, dataset)
    seeds = np.random.SeedSequence(seed).spawn(4)
    posterior, stats = method.run(model, dataset, seed=seed, progress=progress)
    sampled = time.perf_counter()
    progress("checking convergence", 0, 0, 0)
    posterior = with_labels(posterior, model, dataset, design, np.random.default_rng(seeds[3]))
    posterior = _described(model, posterior, design)
    fit = xr.DataTree.from_dict({"posterior": posterior, "sample_stats": stats})
    fit.attrs = _provenance(model, dataset, method, seed)
    fit.attrs["method_note"] = stats.attrs.get("instead", "")
    fit["prior"] = xr.DataTree(_prior(model, np.random.default_rng(seeds[0]), posterior))
    fit["data"] = xr.DataTree(dataset.to_xarray())
    for name, group in _observation_groups(fit, dataset, design, seeds[1]).items():
        fit[name] = xr.DataTree(group)
    progress("integrating out the random effects", 0, 0, 0)
    marginal = _log_likelihood_subject(fit, dataset, np.random.default_rng(seeds[2]))
    fit["log_likelihood_subject"] = xr.DataTree(marginal)
    table = convergence_table(posterior.drop_vars(LABELS, errors="ignore"))
    fit["convergence"] = xr.DataTree(table)
    fit.attrs["verdict"] = judge(table, stats).to_json()
    fit.attrs["seconds_sampling"] = sampled - began
    fit.attrs["seconds_total"] = time.perf_counter() - began
    return fit


def _described(model: PopModel, posterior: xr.Dataset, design: Design) -> xr.Dataset:
    """The variables that have a meaning, in order, with units."""
    described = _population(model)
    names = [p.name for p in described]
    groups = [level.effects_name for level in model.levels]
    others = (*groups, "eta", "kappa", "latent_covariates", "parameters", *LABELS)
    kept = posterior[[*names, *(name for name in others if name in posterior)]]
    dims = set().union(*(kept[name].dims for name in kept.data_vars))
    kept = kept.drop_vars([coord for coord in kept.coords if coord not in dims])
    for parameter in described:
        kept[parameter.name].attrs = {"units": parameter.unit, "long_name": parameter.meaning}
    units = {p.name: model.units.of(p.dimension) for p in model.structure.parameters}
    which = "individual parameters" + (" at the first record" if design.varies else "")
    kept["parameters"].attrs = {"units": json.dumps(units), "long_name": which}
    if "eta" in kept:
        where = "on the parameters' scales"
        kept["eta"].attrs = {"units": "1", "long_name": f"random effects {where}"}
    if "kappa" in kept:
        kept["kappa"].attrs = {"units": "1", "long_name": f"random effects of occasions {where}"}
        owner = kept["subject"].values[design.occasion_subject]
        kept = kept.assign_coords(
            occasion_subject=("occasion", owner),
            occasion_number=("occasion", design.occasion_number),
        )
    for level in model.levels:
        of_effects = {name: model.units_on_scale(name) for name in level.effects}
        kept[level.effects_name].attrs = {
            "units": json.dumps(of_effects),
            "long_name": f"random effects {level.between} on the parameters' scales",
        }
    if "latent_covariates" in kept:
        kept = _latent_described(model, kept, design)
    kept.attrs = {"population": json.dumps(names)}
    return kept


def _latent_described(model: PopModel, kept: xr.Dataset, design: Design) -> xr.Dataset:
    """With the covariate and the subject of each value, and the unit of each covariate."""
    names, positions = zip(*design.missing, strict=True)
    units = {name: model.units.covariate(name) or "1" for name in dict.fromkeys(names)}
    kept["latent_covariates"].attrs = {
        "units": json.dumps(units),
        "long_name": "covariates that were not measured",
    }
    return kept.assign_coords(
        missing_covariate=("missing", list(names)),
        missing_subject=("missing", kept["subject"].values[list(positions)]),
    )


def _population(model: PopModel) -> list[PopulationParameter | Coefficient | DerivedShare]:
    """The population parameters and what follows from them, in the order of tables."""
    return [*model.parameters, *model.derived]


def _provenance(
    model: PopModel, dataset: Dataset, method: Method, seed: int
) -> dict[str, str | int | float]:
    versions = {name: version(name) for name in _VERSIONS if name != "popk"}
    return {
        "kind": "popk fit",
        "popk_version": version("popk"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": model.to_json(),
        "model_name": model.name,
        "model_hash": model.hash,
        "data_hash": dataset.fingerprint,
        "subject_hashes": json.dumps(dict(dataset.subject_fingerprints)),
        "seed": seed,
        "method": json.dumps({"name": type(method).__name__, **asdict(method)}),
        "units": json.dumps(dataset.units.to_dict()),
        "versions": json.dumps({"popk": version("popk"), **versions}),
    }


def _prior(model: PopModel, rng: np.random.Generator, posterior: xr.Dataset) -> xr.Dataset:
    shape = (posterior.sizes["chain"], posterior.sizes["draw"])
    values = PopulationDraws.from_prior(model, shape[0] * shape[1], rng).values
    derived = {c.name: np.asarray(c.value(values, NUMPY)) for c in model.derived}
    return xr.Dataset(
        {
            p.name: (
                ("chain", "draw"),
                {**values, **derived}[p.name].reshape(shape),
                {"units": p.unit, "long_name": p.meaning},
            )
            for p in _population(model)
        },
        coords={"chain": np.arange(shape[0]), "draw": np.arange(shape[1])},
    )


def _observation_groups(
    fit: xr.DataTree, dataset: Dataset, design: Design, seed: np.random.SeedSequence
) -> dict[str, xr.Dataset]:
    population = PopulationDraws.of(fit)
    model = population.model
    table = dataset.table.isel(record=dataset.is_observation)
    coords = {
        "observation": np.arange(dataset.n_observations),
        "ID": ("observation", table["ID"].values),
        "TIME": ("observation", table["TIME"].values, {"units": model.units.time}),
        "ROW": ("observation", table["record"].values),
    }
    coords |= output_names(model, design)
    attrs = {"units": units_of_outputs(model, design)}
    limits = {
        name.lower(): ("observation", table[name].values, attrs)
        for name in ("LLOQ", "ULOQ")
        if name in table
    }
    chains, draws = (fit["posterior"].sizes[name] for name in ("chain", "draw"))
    eta = effects_of(fit, dataset.subjects, thinned(fit, None))
    kappa = None
    if model.iov.effects:
        values = fit["posterior"]["kappa"].transpose("chain", "draw", ...).values
        kappa = values.reshape(-1, *values.shape[2:])
    missing = [(one.covariate, dataset.subjects[one.subject]) for one in design.missing]
    latent = latent_of(fit["posterior"].to_dataset(), missing, thinned(fit, None))
    labels = labels_of(fit, dataset.subjects, thinned(fit, None))
    theta = population.row_parameters(
        design, eta, kappa, latent if missing else None, labels=labels
    )
    ipred = simulate_rows(model, theta, design.events)
    observed = observations(model, dataset, design.events)
    conditional = model.error.log_likelihood(observed, ipred, population.sigma, NUMPY)
    each = max(1, _PREDICTED // chains)
    kept = np.unique(np.linspace(0, draws - 1, min(each, draws)).round().astype(int))
    part = ipred.reshape(chains, draws, -1)[:, kept]
    sigma = {name: v.reshape(chains, draws, 1)[:, kept] for name, v in population.sigma.items()}
    read = readings(model, dataset, design.events)
    simulated = model.error.simulate(read, part, sigma, np.random.default_rng(seed))
    dims = ("chain", "draw", "observation")
    lead = {"chain": np.arange(chains), "draw": np.arange(draws)}
    return {
        "posterior_predictive": xr.Dataset(
            {"DV": (dims, simulated, attrs), "IPRED": (dims, part, attrs)},
            coords={**lead, "draw": kept, **coords},
        ),
        "observed_data": xr.Dataset(
            {
                "DV": ("observation", table["DV"].values, attrs),
                "cens": ("observation", table["CENS"].values),
                **limits,
            },
            coords=coords,
        ),
        "log_likelihood": xr.Dataset(
            {"DV": (dims, np.asarray(conditional).reshape(chains, draws, -1))},
            coords={**lead, **coords},
            attrs={
                "conditional_on": ", ".join(
                    [_own("the subject's own random effects", model), *_of_groups(model)]
                )
            },
        ),
    }


def _log_likelihood_subject(
    fit: xr.DataTree, dataset: Dataset, rng: np.random.Generator
) -> xr.Dataset:
    chains, draws = fit["posterior"].sizes["chain"], fit["posterior"].sizes["draw"]
    each = min(draws, max(1, _MARGINAL // chains))
    kept = np.unique(np.linspace(0, draws - 1, each).round().astype(int))
    flat = (np.arange(chains)[:, None] * draws + kept).ravel()
    population = PopulationDraws.of(fit).taken(flat)
    columns = []
    for patient in patients_of(population, dataset):
        modes = find_modes(population, patient)
        proposals = propose(population, patient, modes, each=_EACH, rng=rng)
        columns.append(proposals.log_marginal)
    value = np.stack(columns, axis=1).reshape(chains, len(kept), -1)
    return xr.Dataset(
        {"DV": (("chain", "draw", "subject"), value)},
        coords={"chain": np.arange(chains), "draw": kept, "subject": list(dataset.subjects)},
        attrs={
            "integrated_out": _own("the subject's random effects", population.model),
            "conditional_on": ", ".join(_of_groups(population.model)),
        },
    )


def _own(effects: str, model: PopModel) -> str:
    return f"{effects} and sub-population" if model.classes else effects


def _of_groups(model: PopModel) -> list[str]:
    return [f"the effects of the subject's {level.covariate}" for level in model.levels]
