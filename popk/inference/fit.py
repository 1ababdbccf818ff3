"""From a model and data to a fit: the posterior, what it rests on, and whether to believe it."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from importlib.metadata import version
from os import PathLike

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.design import Design, check_fit
from popk.diagnostics import (
    convergence_table,
    flip_flop_in,
    identifiability,
    judge,
    notes_on_flip_flop,
    weak_directions,
)
from popk.individual import find_modes, patients_of, propose
from popk.inference.classes import LABELS, with_labels
from popk.inference.described import describe, population_of
from popk.inference.marginal import Marginal
from popk.inference.method import Method, as_values, from_values
from popk.inference.needs import check_room
from popk.inference.precision import precision_of
from popk.inference.progress import Listener, Progress, shown
from popk.inference.runs import (
    NOWHERE,
    Description,
    OpenRun,
    Run,
    Store,
    begin_or_go_on,
    environment,
    go_on,
    versions,
)
from popk.latent import latent_of
from popk.model import PopModel
from popk.observations import observations, readings
from popk.population import PopulationDraws, check_seed, effects_of
from popk.prediction import labels_of, output_names, simulate_rows, units_of_outputs
from popk.statistics import NUMPY

__all__ = ["resume", "sample"]

type Floats = NDArray[np.float64]

_PREDICTED = 400  # draws for which observations are simulated
_PRIOR_OF_A_POINT = 1000  # draws
_MARGINAL = 400  # draws for which each subject's random effects are integrated out
_BLOCK = 500_000  # subjects' records times draws that are predicted at a time
_EACH = 12  # proposals per subject and draw for that integral


def sample(
    model: PopModel,
    dataset: Dataset,
    method: Method | None = None,
    *,
    seed: int,
    progress: bool | Listener = True,
    run: str | PathLike[str] | Run | None = None,
) -> xr.DataTree:
    """Sample the posterior of a population model.

    The same seed gives the same draws on the same machine, whatever the number of cores.

    Parameters
    ----------
    model
        The model.
    dataset
        The data, in the model's units.
    method
        How to sample: `Marginal`, `NUTS` (`NumpyroNUTS` on a GPU) or `SMC`; approximately, by
        `Laplace`, `Pathfinder` or `VI`; or `MAP` for the mode alone, as one draw.
        `Marginal()` if None.
    seed
        Seed of all random numbers.
    progress
        Show progress in the terminal or notebook (True), not at all (False), or call a function
        with each `popk.inference.Report`.
    run
        Folder to write the run to while it is sampled: model, data, settings, versions and machine,
        draws, in the end the fit and its verdict. Interrupted however it may be, it is continued by
        `popk.resume`, or by the same call again, which gives the fit where it has been finished.
        Draws are the same with and without it.

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
    - ``sample_stats``, ``convergence`` (R-hat and ESS of every quantity), ``identifiability``
      (posterior SDs over the prior's, and correlations) and ``data``.

    ``parameters`` and the log likelihood of each observation follow from the draws; in a fit with
    more than a hundred million of these numbers they are in single precision (seven digits).
    In ``attrs`` there are the model, its hash, the data's hash, seed, method, versions,
    environment, the verdict, and ``resumed``, where the run went on after interruptions.

    Raises
    ------
    DataError, ModelError, SettingError
        When the data do not fit the model, or the seed makes no sense.
    StorageError
        When the folder holds another run, is in use or damaged, or its disk is full or too small.
    """
    check_seed(seed)
    method = Marginal() if method is None else method
    design = check_fit(model, dataset)
    description = Description(model, dataset, as_values(method), seed)
    with shown(progress) as report:
        if run is None:
            check_room(model, design, method, report)
            return _sample(description, method, design, report, NOWHERE)
        run = run if isinstance(run, Run) else Run(run)
        with begin_or_go_on(run, description, report) as opened:
            return _completed(opened, method, report)


def resume(run: str | PathLike[str] | Run, *, progress: bool | Listener = True) -> xr.DataTree:
    """Continue a run that was interrupted, or give the fit of one that was finished.

    Nothing but what was drawn after the last chunk is drawn again. By `Marginal` and `NumpyroNUTS`
    the posterior is the same to the bit as without the interruption (on the same machine, or
    device, with the same versions).
    By `NUTS` it is the same posterior, but not the same draws: each chain goes on from its last
    stored draw after half as much tuning, which is not kept; ``attrs["resumed"]`` says where. The
    other methods store nothing before the fit: they begin again from the seed, and give the same.

    Parameters
    ----------
    run
        Folder of the run.
    progress
        As for `sample`.

    Returns
    -------
    As `sample`.

    Raises
    ------
    StorageError
        When there is no run in the folder, it is in use or damaged, or the disk is full.
    """
    with shown(progress) as report:
        run = run if isinstance(run, Run) else Run(run)
        with go_on(run, report) as opened:
            return _completed(opened, from_values(opened.description.method), report)


def _completed(run: OpenRun, method: Method, progress: Progress) -> xr.DataTree:
    """The fit of a run: read where it is finished, else sampled to its end and written."""
    fit = run.fit()
    if fit is not None:
        progress(f"the run in {run.folder} is finished: its fit is read")
        return fit
    described = run.description
    design = check_fit(described.model, described.dataset)
    check_room(described.model, design, method, progress, folder=run.folder)
    fit = _sample(described, method, design, progress, run.store)
    fit.attrs["resumed"] = json.dumps(run.resumed)
    run.finish(fit)
    return fit


def _sample(
    described: Description, method: Method, design: Design, progress: Progress, store: Store
) -> xr.DataTree:
    began = time.perf_counter()
    model, dataset, seed = described.model, described.dataset, described.seed
    seeds = np.random.SeedSequence(seed).spawn(4)
    posterior, stats = method.run(model, dataset, seed=seed, progress=progress, store=store)
    sampled = time.perf_counter()
    progress("checking convergence")
    posterior = with_labels(posterior, model, dataset, design, np.random.default_rng(seeds[3]))
    posterior = describe(model, posterior, design)
    fit = xr.DataTree.from_dict({"posterior": posterior, "sample_stats": stats})
    fit.attrs = _provenance(model, dataset, method, seed)
    fit.attrs["method_note"] = stats.attrs.get("instead", "")
    fit["prior"] = xr.DataTree(_prior(model, np.random.default_rng(seeds[0]), posterior))
    fit["data"] = xr.DataTree(dataset.to_xarray())
    for name, group in _observation_groups(fit, dataset, design, seeds[1]).items():
        fit[name] = xr.DataTree(group)
    progress("integrating out the random effects")
    marginal = _log_likelihood_subject(fit, dataset, np.random.default_rng(seeds[2]))
    fit["log_likelihood_subject"] = xr.DataTree(marginal)
    table = convergence_table(posterior.drop_vars(LABELS, errors="ignore"))
    fit["convergence"] = xr.DataTree(table)
    known = stats["covariance_score"].values if "covariance_score" in stats else None
    identified = identifiability(model, posterior, known)
    fit["identifiability"] = xr.DataTree(identified)
    notes = weak_directions(identified)
    if known is None:  # a point has no probabilities
        notes += notes_on_flip_flop(flip_flop_in(model, posterior))
    fit.attrs["verdict"] = judge(table, stats, notes=notes).to_json()
    fit.attrs["seconds_sampling"] = sampled - began
    fit.attrs["seconds_total"] = time.perf_counter() - began
    return fit


def _provenance(
    model: PopModel, dataset: Dataset, method: Method, seed: int
) -> dict[str, str | int | float]:
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
        "method": json.dumps(as_values(method)),
        "units": json.dumps(dataset.units.to_dict()),
        "versions": json.dumps(versions()),
        "environment": json.dumps(environment()),
        "resumed": "[]",
    }


def _prior(model: PopModel, rng: np.random.Generator, posterior: xr.Dataset) -> xr.Dataset:
    shape = (posterior.sizes["chain"], posterior.sizes["draw"])
    if shape == (1, 1):  # a point, whose prior is a distribution all the same
        shape = (1, _PRIOR_OF_A_POINT)
    values = PopulationDraws.from_prior(model, shape[0] * shape[1], rng).values
    derived = {c.name: np.asarray(c.value(values, NUMPY)) for c in model.derived}
    return xr.Dataset(
        {
            p.name: (
                ("chain", "draw"),
                {**values, **derived}[p.name].reshape(shape),
                {"units": p.unit, "long_name": p.meaning},
            )
            for p in population_of(model)
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
    each = max(1, _PREDICTED // chains)
    kept = np.unique(np.linspace(0, draws - 1, min(each, draws)).round().astype(int))
    shown = (np.arange(chains)[:, None] * draws + kept).ravel()
    part, conditional = _predicted(fit, population, dataset, design, shown)
    part = part.reshape(chains, len(kept), -1)
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
            {"DV": (dims, conditional.reshape(chains, draws, -1))},
            coords={**lead, **coords},
            attrs={
                "conditional_on": ", ".join(
                    [_own("the subject's own random effects", model), *_of_groups(model)]
                )
            },
        ),
    }


def _predicted(
    fit: xr.DataTree,
    population: PopulationDraws,
    dataset: Dataset,
    design: Design,
    shown: NDArray[np.int64],
) -> tuple[Floats, Floats]:
    """IPRED (shown, n_observations) and conditional log likelihoods (S, n_observations).

    Draws are computed a few at a time: everybody's parameters in all of them would be the largest
    array.
    """
    model, total = population.model, population.size
    observed = observations(model, dataset, design.events)
    posterior = fit["posterior"].to_dataset()
    missing = [(one.covariate, dataset.subjects[one.subject]) for one in design.missing]
    kappa = None
    if model.iov.effects:
        values = posterior["kappa"].transpose("chain", "draw", ...).values
        kappa = values.reshape(-1, *values.shape[2:])
    predicted = np.empty((len(shown), dataset.n_observations))
    precision = precision_of(model, design, total)
    conditional = np.empty((total, dataset.n_observations), dtype=precision)
    blocks = 1 + total * len(design.rows.subject) // _BLOCK
    for chosen in np.array_split(np.arange(total), min(blocks, total)):
        own = population.taken(chosen)
        theta = own.row_parameters(
            design,
            effects_of(fit, dataset.subjects, chosen),
            None if kappa is None else kappa[chosen],
            latent_of(posterior, missing, chosen) if missing else None,
            labels=labels_of(fit, dataset.subjects, chosen),
        )
        ipred = simulate_rows(model, theta, design.events)
        conditional[chosen] = model.error.log_likelihood(observed, ipred, own.sigma, NUMPY)
        predicted[np.isin(shown, chosen)] = ipred[np.isin(chosen, shown)]
    return predicted, conditional


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
        own = population.of_class(patient.label)
        modes = find_modes(own, patient)
        proposals = propose(own, patient, modes, each=_EACH, rng=rng)
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
    if model.category is not None:
        return f"{effects}, and {model.category.covariate} where it was not measured"
    return f"{effects} and sub-population" if model.classes else effects


def _of_groups(model: PopModel) -> list[str]:
    return [f"the effects of the subject's {level.covariate}" for level in model.levels]
