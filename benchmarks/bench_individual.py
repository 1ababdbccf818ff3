"""What the advice for one patient costs: `make bench-individual`. Writes RESULTS_INDIVIDUAL.md.

New patients of the demonstration's natalizumab cohort, warm, each advised alone and all in one
call: wall time and CPU time of whole calls (checks, posterior, forecast, decision over five
intervals), median and 95 % quantile. The population is drawn from priors as narrow as what a cohort
leaves, so that nothing is fitted here. Beside it, the modes under every population draw, predicted
and by a search (popk's way when predicted modes serve badly); the same advice with the checks of
`popk.individualise`; and what the engine alone takes of it, the bound of all that is around it: the
patient's history for 1,000 nodes and for 500 samples with the candidates.

The wish is 20 ms for each patient of the Michaelis-Menten model and 3 ms of the linear one, for
the decision alone.
"""

from __future__ import annotations

import datetime
import time
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import xarray as xr
from popk.models.natalizumab import model as natalizumab
from results import commit, processor

from popk.dataset import Dataset, read_dataset
from popk.diagnostics import Verdict
from popk.individual import Trough, find_modes, individualise, patients_of, prepare
from popk.individual.forecast import present_of, troughs_of
from popk.individual.quick import predicted_modes
from popk.model import PopModel
from popk.monitoring import individualise as checked
from popk.population import PopulationDraws
from popk.statistics import IIV, LogNormal, LogNormalError, Normal, Power
from popk.structure import Structure, TwoCompartment

HERE = Path(__file__).parent
PATIENTS = 25
REPEATS = 5  # of all patients in one call
TARGET = Trough(10.0, "mg/L")
VERDICT = Verdict(True, (), 1.0, "CL", 1000.0, "CL", 1000.0, "CL", 0, 1.0, 1, 1000)


def model_of(
    structure: Structure, typical: dict[str, float], effects: dict[str, float]
) -> PopModel:
    """A model whose priors are as wide as a posterior: 5 %."""
    return PopModel(
        structure,
        typical={name: LogNormal(value, cv=0.05) for name, value in typical.items()},
        iiv=IIV({name: LogNormal(value, cv=0.1) for name, value in effects.items()}),
        covariates=(Power("CL", "WT", reference=70.0, exponent=Normal(0.6, 0.1)),),
        error=LogNormalError(LogNormal(0.219, cv=0.05)),
        units=natalizumab.units,
    )


LINEAR = {"CL": 0.2, "V1": 3.48, "Q": 0.4, "V2": 3.48}
SATURABLE = {"CL": 0.164, "V1": 3.48, "Q": 0.4, "V2": 3.48, "VMAX": 2.86, "KM": 0.875}
MODELS = {
    "linear, two compartments": model_of(TwoCompartment(), LINEAR, {"CL": 0.23, "V2": 0.3}),
    "Michaelis-Menten (natalizumab)": model_of(
        natalizumab.structure, SATURABLE, {"CL": 0.228, "V2": 0.315, "VMAX": 0.26}
    ),
}
WISHES = {"linear, two compartments": 3, "Michaelis-Menten (natalizumab)": 20}  # ms
CHECKED = 10  # patients advised with checks
NODES, SAMPLES = 1000, 500
ASKED = {"decision alone": {"curve": False, "sustained": False}, "everything": {}}


def patients() -> Dataset:
    """New patients of the demonstration."""
    place = files("popk.demo") / "data" / "natalizumab" / "new_patients.csv"
    with as_file(place) as path:
        return read_dataset(path, units=natalizumab.units)


def fit_of(model: PopModel, data: Dataset) -> xr.DataTree:
    """What advice reads of a fit; 1,000 draws of the priors in the place of a posterior."""
    population = PopulationDraws.from_prior(model, 1000, np.random.default_rng(1))
    posterior = xr.Dataset({n: (("chain", "draw"), v[None]) for n, v in population.values.items()})
    tree = xr.DataTree.from_dict({"posterior": posterior, "data": data.to_xarray()})
    tree.attrs = {
        "kind": "popk fit", "model": model.to_json(), "model_hash": model.hash,
        "data_hash": data.fingerprint, "subject_hashes": "{}", "verdict": VERDICT.to_json(),
    }  # fmt: skip
    return tree


def engine_alone(model: PopModel, data: Dataset) -> list:
    """Calls that solve what the advice of each patient has to, and nothing else."""
    population = PopulationDraws.from_prior(model, NODES, np.random.default_rng(2))
    weeks = 7.0 * np.arange(4.0, 9.0)
    presents = present_of(model, data)
    calls = []
    for patient, present in zip(patients_of(population, data), presents, strict=True):
        rows = population.expected(patient.covariates)
        eta = population.new_effects(1, np.random.default_rng(3))
        theta = population.parameters(rows, eta)

        def call(theta=theta, patient=patient, present=present) -> None:
            patient.solver.ensemble(theta)
            troughs_of(model, theta[:SAMPLES], present, weeks)

        calls.append(call)
    return calls


def timed(calls: list, *, share: int = 1) -> str:
    """Median and 95 % quantile of wall time, and median CPU time, in ms, of a call's share."""
    calls[0]()
    found = []
    for call in calls:
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = 1e3 / share * np.array(found).T
    return f"{np.median(wall):.1f} | {np.quantile(wall, 0.95):.1f} | {np.median(cpu):.1f}"


def main() -> None:
    """Time everything and write the page."""
    data = patients()
    each = [data.select([subject]) for subject in data.subjects[:PATIENTS]]
    many = data.select(data.subjects[:PATIENTS])
    rows = []
    for name, model in MODELS.items():
        prepared = prepare(fit_of(model, data), own=False)
        for what, asked in ASKED.items():
            calls = [
                lambda one=one, asked=asked, prepared=prepared: individualise(
                    prepared, one, target=TARGET, **asked
                )
                for one in each
            ]
            rows.append(f"| {name} | advice, {what} | {timed(calls)} |")
            together = [
                lambda asked=asked, prepared=prepared: individualise(
                    prepared, many, target=TARGET, **asked
                )
            ] * REPEATS
            each_of = timed(together, share=len(each))
            rows.append(f"| {name} | the same, {len(each)} in one call, for each | {each_of} |")
        whole = prepare(fit_of(model, data))
        calls = [
            lambda one=one, whole=whole: checked(
                whole, one, target=TARGET, curve=False, sustained=False
            )
            for one in each[:CHECKED]
        ]
        rows.append(f"| {name} | decision alone, with checks | {timed(calls)} |")
        some_of = data.select(data.subjects[:CHECKED])
        calls = [
            lambda whole=whole, some_of=some_of: checked(
                whole, some_of, target=TARGET, curve=False, sustained=False
            )
        ] * REPEATS
        each_of = timed(calls, share=CHECKED)
        rows.append(f"| {name} | the same, {CHECKED} in one call, for each | {each_of} |")
        rows.append(f"| {name} | the engine's solves alone | {timed(engine_alone(model, many))} |")
        rows.append(f"| {name} | wish, decision alone | {WISHES[name]} | | |")
        population = prepared.population
        some = [patients_of(population, one)[0] for one in each]
        for what, search in (("predicted", predicted_modes), ("searched", find_modes)):
            calls = [lambda p=p, s=search, q=population: s(q, p) for p in some]
            rows.append(f"| {name} | modes under 250 draws, {what} | {timed(calls)} |")
    today = datetime.datetime.now(datetime.UTC)
    text = "\n".join(
        [
            "# The advice for one patient",
            "",
            f"Written by `make bench-individual` on {today:%Y-%m-%d}, {commit()}, {processor()}; "
            "not to be edited.",
            f"{PATIENTS} patients, warm; 250 draws of the population, 500 samples, "
            "five intervals. ms.",
            "",
            "| model | what | wall, median | wall, 95 % | CPU, median |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )
    (HERE / "RESULTS_INDIVIDUAL.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
