"""MAP estimates and conditional distributions beside NONMEM's and Monolix's.

NONMEM 7.4.4: Le Louedec et al., CPT Pharmacometrics Syst Pharmacol 2021;10:1208-1220, 25 of the 29
models, 100 patients each; omegas and sigmas are stated there as variances. Runs 901, 911, 921 and
941 are left out: their variances are not stated (of 911 the effects neither, and those of 921
between occasions move two parameters at once, which popk's do not). NONMEM 7.3.0: infliximab, with
the true etas; two of its 60 patients have a negative concentration, which popk refuses. Both are
read only where they are, as their repositories have no licence. Monolix 2020R1: see data/README.md.

Reached with all 2,500 patients: the objective is nowhere more than 1e-9 above NONMEM's, and where
NONMEM ended at the same mode |eta - NONMEM's| < 2e-5; its OBJ is reproduced to 1e-4 in the eleven
runs where it was looked at. It ended at a point of lower density for 16 patients: 12 of run 003,
whose density has an edge where the lag reaches a sample, and 4 of run 004, likewise with the
duration. Of infliximab 47 of 58 patients agree within 0.02; the others have a higher objective in
NONMEM's file than popk's (it stopped early, or at the lower of two modes), by 0.02 to 4 where it
was looked at. 90 % intervals hold 93 % of the true etas of CL.

Monolix: all etas within 0.1 SD and 97 % of the SDs within 8 %, but for run 504 (omegas of 1): 78 %
of its etas and 68 % of its SDs. There absorption and elimination can change places (flip-flop), and
for three patients Monolix's chains missed a mode: `test_a_mode_that_monolix_missed`. That is not
all of it: with one sample and tails this heavy popk's own SDs are 10 to 15 % off for some (ID 17:
0.30, by quadrature 0.34, Monolix 0.37).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest

from popk.dataset import read_dataset
from popk.individual import expected_of, map_estimates, patients_of
from popk.individual.conditional import conditional_nodes
from popk.individual.objective import left_out
from popk.individual.patient import log_joint
from popk.individual.point import population_at
from popk.individual.starts import peaks_of
from popk.model import PopModel
from popk.statistics import (
    IIV,
    Additive,
    Combined,
    CombinedSD,
    Fixed,
    Fold,
    LogitScale,
    LogNormalError,
    Power,
    Proportional,
)
from popk.structure import (
    Dosing,
    FirstOrder,
    MichaelisMenten,
    OneCompartment,
    ParallelFirstOrder,
    ParallelMichaelisMenten,
    ParentMetabolite,
    Structure,
    TwoCompartment,
)

UNITS = {"time": "h", "amount": "ug", "concentration": "ug/L"}
EVENTS = ["ID", "TIME", "EVID", "AMT", "CMT", "RATE", "II", "ADDL", "SS", "MDV", "DV"]


@dataclass(frozen=True)
class Known:
    """A model with typical values, the effects in NONMEM's order of etas, and variances."""

    structure: Structure
    typical: dict[str, float]
    effects: tuple[str, ...]
    omega: tuple[float, ...] = ()  # variances; 0.2 each if empty
    error: Any = None
    covariates: tuple[Any, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    scales: dict[str, Any] = field(default_factory=dict)
    carry: str | None = None

    def model(self) -> PopModel:
        """The model, every parameter fixed."""
        variances = self.omega or (0.2,) * len(self.effects)
        omegas = dict(zip(self.effects, map(sd, variances), strict=True))
        return PopModel(
            self.structure,
            typical={name: Fixed(value) for name, value in self.typical.items()},
            iiv=IIV(omegas),
            covariates=self.covariates,
            scales=self.scales,
            error=self.error or Proportional(sd(0.05)),
            units={**UNITS, **self.columns},
        )


def infliximab() -> PopModel:
    """Fasanmade et al. 2009 as in github.com/wojjy001/infliximab-bayes at 1b0c644: d, mg, mg/L."""
    powers = {"V1": 0.691, "Q": 1.10, "V2": 0.59}
    weight = [
        Power(name, "WT", reference=70.0, exponent=Fixed(value)) for name, value in powers.items()
    ]
    variances = {"CL": 0.106929, "V1": 0.0225, "Q": 1.21, "V2": 0.638401}
    typical = {"CL": 0.294, "V1": 3.33, "Q": 0.0719, "V2": 1.14, "D1": 0.08333}
    return PopModel(
        TwoCompartment(dosing=Dosing(duration=1)),
        typical={name: Fixed(value) for name, value in typical.items()},
        iiv=IIV({name: sd(value) for name, value in variances.items()}),
        covariates=(
            Power("CL", "WT", reference=70.0, exponent=Fixed(0.614)),
            Power("CL", "ALB", reference=4.0, exponent=Fixed(-1.17)),
            Fold("CL", "ADA", Fixed(1.257)),
            *weight,
        ),
        error=Proportional(sd(0.175561)),
        units={
            "time": "d", "amount": "mg", "concentration": "mg/L",
            "WT": "kg", "ALB": "g/dL", "ADA": "1",
        },
    )  # fmt: skip


def sd(variance: float) -> Fixed:
    """A known SD."""
    return Fixed(math.sqrt(variance))


def with_dosing(**dosing: Any) -> Structure:
    return OneCompartment(FirstOrder(), dosing=Dosing(**dosing))


ORAL = OneCompartment(FirstOrder())
MM = OneCompartment(FirstOrder(), MichaelisMenten())
BOTH = OneCompartment(FirstOrder(), ParallelMichaelisMenten())
BASIC = {"CL": 4.0, "V": 70.0, "KA": 1.0}
ETAS = ("CL", "V", "KA")
SATURABLE = {"V": 70.0, "VMAX": 1e4, "KM": 2500.0, "KA": 1.0}
PARENT = ParentMetabolite(ORAL)


def oral(*omega: float, **changed: Any) -> Known:
    return Known(ORAL, BASIC, ETAS, omega, **changed)


def saturable(*etas: str) -> Known:
    parallel = "CL" in etas
    typical = {"CL": 4.0, **SATURABLE} if parallel else SATURABLE
    return Known(BOTH if parallel else MM, typical, etas)


MODELS = {
    "001": oral(),
    "002": oral(),
    "003": Known(with_dosing(lag=1), {**BASIC, "ALAG1": 1.0}, (*ETAS, "ALAG1")),
    "004": Known(with_dosing(duration=2), {**BASIC, "D2": 4.0}, ("CL", "V", "D2")),
    "005": Known(with_dosing(duration=1), {**BASIC, "D1": 1.0}, (*ETAS, "D1")),
    "007": Known(
        OneCompartment(ParallelFirstOrder()),
        {"CL": 4.0, "V": 70.0, "KA1": 1.0, "KA2": 0.25, "FR1": 0.2},
        ("CL", "V", "KA1", "KA2"),
        scales={"FR1": LogitScale()},
    ),
    "008": Known(
        with_dosing(bioavailability=1), {**BASIC, "F1": 0.5}, (*ETAS, "F1"),
        scales={"F1": LogitScale()},
    ),
    "101": Known(
        TwoCompartment(FirstOrder()), {"CL": 4.0, "V1": 70.0, "Q": 4.0, "V2": 50.0, "KA": 1.0},
        ("CL", "V1", "KA", "V2"),
    ),
    "201": saturable("VMAX", "V", "KA", "KM"),
    "202": saturable("VMAX", "V", "KA", "KM"),
    "203": saturable("CL", "V", "KA", "KM"),
    "204": saturable("CL", "V", "KA", "KM"),
    "205": saturable("CL", "V", "KA", "VMAX"),
    "206": saturable("CL", "V", "KA", "VMAX"),
    "301": oral(
        covariates=(
            Power("CL", "BW", reference=75.0, exponent=Fixed(1.5)),
            Fold("CL", "SEX", Fixed(0.75)),
        ),
        columns={"BW": "kg", "SEX": "1"},
        carry="nonmem",
    ),
    "401": Known(
        PARENT, {**BASIC, "FM": 0.7, "CLM": 2.5, "VM": 60.0}, (*ETAS, "CLM", "VM"),
        error={
            "concentration": Proportional(sd(0.05)),
            "metabolite_concentration": Proportional(sd(0.05)),
        },
    ),
    "403": oral(error=Additive(sd(5000.0))),
    "404": oral(error=Additive(sd(5000.0))),
    "405": oral(error=Combined(sd(0.05), sd(5000.0))),
    "407": oral(error=LogNormalError(sd(0.05))),
    "408": oral(error=LogNormalError(sd(0.05))),
    "501": oral(0.4, 0.4, 0.4),
    "502": oral(0.6, 0.6, 0.6),
    "503": oral(0.8, 0.8, 0.8),
    "511": oral(2.0, 0.2, 0.2),
}  # fmt: skip

# Runs in which NONMEM ended at points of lower density: at an edge.
EDGES = ("003", "004")


def known(folder, run, *, every):
    """A model, the records of every so many patients, and NONMEM's etas and OBJ."""
    own = MODELS[run]
    table = pd.read_csv(folder / f"run{run}_data.csv", na_values=".")
    ebe = pd.read_csv(folder / f"run{run}_ebe.csv").iloc[::every]
    names = [name for name in [*EVENTS, *own.columns] if name in table]
    dataset = read_dataset(
        table.loc[table["ID"].isin(ebe["ID"]), names],
        units={**UNITS, **own.columns},
        carry=own.carry,
    )
    eta = ebe[[f"ETA({k + 1})" for k in range(len(own.effects))]].to_numpy()
    return own.model(), dataset, eta, ebe["OBJ"].to_numpy()


def objective_at(model, dataset, eta):
    """popk's objective at given etas (n_subjects, n_effects), in the model's order."""
    population = population_at(model, "median")
    z = eta / population.omega
    found = []
    for own, patient in zip(z, patients_of(population, dataset), strict=True):
        expected = expected_of(population, patient, own[None])
        density, _ = log_joint(population, patient, expected, own[None, None])
        constants = len(own) * math.log(2 * math.pi) + left_out(model, patient)
        found.append(-2 * density[0, 0] - constants)
    return np.array(found)


def beside_nonmem(folder, run, *, every):
    model, dataset, theirs, objective = known(folder, run, every=every)
    found = map_estimates(model, dataset, nodes=100)
    mine = found["eta"].sel(effect=list(MODELS[run].effects)).values
    order = [MODELS[run].effects.index(name) for name in model.iiv.effects]
    above = found["objective"].values - objective_at(model, dataset, theirs[:, order])
    assert above.max() < 1e-6
    same = above > -1e-5
    assert same.all() or run in EDGES
    assert same.mean() >= 0.85
    assert np.abs(mine - theirs)[same].max() < 1e-3
    # OBJ is of nine digits, and of NONMEM's own mode.
    np.testing.assert_allclose(found["objective_laplace"].values[same], objective[same], atol=2e-3)


FAST = ("001", "008", "202", "301", "401", "405", "407", "511")


@pytest.mark.parametrize("run", FAST)
def test_map_estimates_are_those_of_nonmem(reference_data, run):
    beside_nonmem(reference_data / "mapbayr_nonmem", run, every=13)


@pytest.mark.slow
@pytest.mark.parametrize("run", sorted(MODELS))
def test_all_map_estimates_are_those_of_nonmem(reference_data, run):
    beside_nonmem(reference_data / "mapbayr_nonmem", run, every=1)


@pytest.mark.slow
def test_infliximab_beside_nonmem_and_the_truth(reference_data):
    folder = reference_data / "infliximab_nonmem"
    table, ebe = pd.read_csv(folder / "data.csv"), pd.read_csv(folder / "ebe.csv")
    table["EVID"] = np.where((table["EVID"] == 0) & (table["MDV"] == 1), 2, table["EVID"])
    negative = table.loc[table["DV"] < 0, "ID"].unique()
    table, ebe = (frame[~frame["ID"].isin(negative)] for frame in (table, ebe))
    model = infliximab()
    names = ["ID", "TIME", "EVID", "AMT", "CMT", "RATE", "MDV", "DV", "WT", "ALB", "ADA"]
    dataset = read_dataset(table[names], units=model.units.to_dict(), carry="nonmem")
    found = map_estimates(model, dataset)
    order = list(model.iiv.effects)
    nonmem = {name: f"ETA({k})" for k, name in enumerate(("CL", "V1", "Q", "V2"), start=1)}
    theirs = ebe[[nonmem[name] for name in order]].to_numpy()
    above = found["objective"].values - objective_at(model, dataset, theirs)
    assert above.max() < 1e-6
    apart = np.abs(found["eta"].values - theirs).max(axis=1)
    same = above > -0.01
    assert same.mean() > 0.75
    assert apart[same].max() < 0.02
    truth = ebe["TRUE_ETA_CL"].to_numpy()
    own = found.sel(effect="CL")
    held = (truth >= own["eta_low"].values) & (truth <= own["eta_high"].values)
    assert 0.85 <= held.mean() <= 0.97  # of 58: 0.9 and two binomial SDs of 0.04


def with_effects(structure, typical, effects, *, omega=0.447214, error=None):
    """A model as Monolix had it: SDs."""
    return PopModel(
        structure,
        typical={name: Fixed(value) for name, value in typical.items()},
        iiv=IIV({name: Fixed(omega) for name in effects}),
        error=error or Proportional(Fixed(0.05)),
        units=UNITS,
    )


ONE = {"Ka": "KA", "Vc": "V", "Cl": "CL"}
MONOLIX = {
    "001": (with_effects(ORAL, BASIC, ETAS), ONE),
    "101": (
        with_effects(MODELS["101"].structure, MODELS["101"].typical, ("CL", "V1", "V2", "KA")),
        {"Ka": "KA", "Cl": "CL", "Vc": "V1", "Vp": "V2"},
    ),
    "201": (
        with_effects(MM, SATURABLE, ("V", "VMAX", "KM", "KA")),
        {"Ka": "KA", "Vc": "V", "Vmax": "VMAX", "Km": "KM"},
    ),
    "405": (
        with_effects(ORAL, BASIC, ETAS, error=CombinedSD(Fixed(0.05), Fixed(5000.0))), ONE,
    ),
    "504": (with_effects(ORAL, BASIC, ETAS, omega=1.0), ONE),
}  # fmt: skip


def of_monolix(folder, run, ids):
    """Records of some patients, and mean and SD (n_subjects, n_effects) in the model's order."""
    model, names = MONOLIX[run]
    table = pd.read_csv(folder / "monolix_records.csv", dtype={"RUN": str})
    table = table[(table["RUN"] == run) & table["ID"].isin(ids)]
    etas = pd.read_csv(folder / "monolix_etas.csv", dtype={"RUN": str})
    etas = etas[(etas["RUN"] == run) & etas["ID"].isin(ids)].replace({"effect": names})
    wide = etas.pivot_table(index="ID", columns="effect", values=["mean", "sd"])
    order = list(model.iiv.effects)
    dataset = read_dataset(table.drop(columns="RUN"), units=UNITS)
    return model, dataset, wide["mean"][order].to_numpy(), wide["sd"][order].to_numpy()


def compared(folder, run, ids):
    """How far the means are apart, in SDs, and the ratio of the SDs."""
    model, dataset, mean, sd = of_monolix(folder, run, ids)
    found = map_estimates(model, dataset)
    return np.abs(found["eta_mean"].values - mean) / sd, found["eta_sd"].values / sd


def test_conditional_distributions_are_those_of_monolix(small_tables):
    parts = [compared(small_tables, run, range(1, 7)) for run in ("001", "405")]
    apart, ratio = (np.concatenate(part).ravel() for part in zip(*parts, strict=True))
    assert np.mean(apart < 0.1) >= 0.95
    assert np.mean(np.abs(ratio - 1) < 0.08) >= 0.95


@pytest.mark.slow
def test_all_conditional_distributions_are_those_of_monolix(small_tables):
    parts = [compared(small_tables, run, range(1, 21)) for run in ("001", "101", "201", "405")]
    apart, ratio = (np.concatenate([x.ravel() for x in part]) for part in zip(*parts, strict=True))
    assert np.mean(apart < 0.1) >= 0.95
    assert np.mean(np.abs(ratio - 1) < 0.08) >= 0.95


def test_a_mode_that_monolix_missed(small_tables):
    """Exchanging KA and CL/V (CL kept) changes no concentration, and no volume in log parameters.

    So the second mode's share is known: the mean over the first of the prior there over the prior
    here. With it, and without it Monolix's figures.
    """
    ids = [1, 9, 15]
    model, dataset, mean, sd = of_monolix(small_tables, "504", ids)
    population = population_at(model, "median")
    order = list(model.iiv.effects)
    cl, v, ka = (order.index(name) for name in ("CL", "V", "KA"))
    for k, patient in enumerate(patients_of(population, dataset)):
        peaks = peaks_of(population, patient, starts=32)
        rng = np.random.default_rng(1)
        made = conditional_nodes(population, patient, peaks, nodes=4096, rng=rng)
        eta, log_weight = made.z[0], made.log_weight[0]  # omegas are 1
        weight = np.exp(log_weight - log_weight.max())
        typical = math.log(4.0 / 70.0)
        rate = typical + eta[:, cl] - eta[:, v]
        first = weight * (eta[:, ka] > rate)
        first, share = first / first.sum(), 1 - first.sum() / weight.sum()
        moved = eta.copy()
        moved[:, ka], moved[:, v] = rate, typical + eta[:, cl] - eta[:, ka]
        ratio = np.exp(-0.5 * ((moved**2).sum(axis=1) - (eta**2).sum(axis=1)))
        assert share > 0.005
        assert share / (1 - share) == pytest.approx(first @ ratio, rel=0.1)
        own = first @ eta
        np.testing.assert_allclose(own, mean[k], atol=0.1 * sd[k].max())
        np.testing.assert_allclose(np.sqrt(first @ (eta - own) ** 2), sd[k], rtol=0.08)
