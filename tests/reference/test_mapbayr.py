"""28 models of Le Louedec et al. 2021 at NONMEM's individual etas: its individual predictions.

Le Louedec et al., CPT Pharmacometrics Syst Pharmacol 2021;10:1208-1220; NONMEM 7.4.4 with nine
digits. The repository has no licence file, so its numbers are only read where they are.

The structures and typical values of runs 901, 921 and 941 were worked out from NONMEM's typical
predictions, which they reproduce to 1e-8. Run 911 (a drug and its metabolite with first-pass
metabolism) is compared at typical values only: which parameters its ten random effects move is not
known here. Its typical values are the apparent ones (per unit of bioavailability).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from popk.dataset import read_dataset
from popk.structure import (
    Dosing,
    FirstOrder,
    MichaelisMenten,
    OneCompartment,
    Output,
    ParallelFirstOrder,
    ParallelMichaelisMenten,
    Parameter,
    ParentMetabolite,
    Structure,
    TwoCompartment,
    concentrations,
    events_of,
)

UNITS = {"time": "h", "amount": "ug", "concentration": "ug/L"}
EVENTS = ["ID", "TIME", "EVID", "AMT", "CMT", "RATE", "II", "ADDL", "SS", "MDV"]


@dataclass(frozen=True)
class FirstPass(Structure):
    """A drug that is partly metabolised before it reaches central: KA FP CL V Q VP CLM VM QM VPM.

    The fraction FP of what leaves the depot becomes metabolite, and all that is eliminated from
    central does; both have two compartments (Q or QM 0: one). Compartments are in the data's order.
    """

    dosing: Dosing = field(default_factory=Dosing)
    tolerance = 1e-10

    @property
    def kinetics(self):
        names = ("KA", "FP", "CL", "V", "Q", "VP", "CLM", "VM", "QM", "VPM")
        return tuple(Parameter(name, "1", name) for name in names)

    @property
    def compartments(self):
        return ("depot", "central", "peripheral", "metabolite", "distributed")

    @property
    def outputs(self):
        return (
            Output("concentration", "concentration", "drug", 2),
            Output("metabolite_concentration", "concentration", "metabolite", 4),
        )

    def rates(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        absorbed, eliminated = p.KA * a.depot, p.CL * a.central / p.V
        exchange = p.Q * (a.central / p.V - a.peripheral / p.VP)
        exchange_m = p.QM * (a.metabolite / p.VM - a.distributed / p.VPM)
        return (
            -absorbed,
            (1.0 - p.FP) * absorbed - eliminated - exchange,
            exchange,
            p.FP * absorbed + eliminated - p.CLM * a.metabolite / p.VM - exchange_m,
            exchange_m,
        )

    def read(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        return (1000.0 * a.central / p.V, 1000.0 * a.metabolite / p.VM)


@dataclass(frozen=True)
class Liver(Structure):
    """A drug and its metabolite behind a liver in equilibrium (Yu et al. 2015): KA CL V CLM VM.

    Hepatic flow 80 L/h; the fraction 0.21 of what the liver removes becomes metabolite, which has a
    peripheral compartment (20.1 L/h, 388 L).
    """

    tolerance = 1e-10

    @property
    def kinetics(self):
        return tuple(Parameter(name, "1", name) for name in ("KA", "CL", "V", "CLM", "VM"))

    @property
    def compartments(self):
        return ("depot", "central", "metabolite", "distributed")

    @property
    def outputs(self):
        return (
            Output("concentration", "concentration", "drug", 2),
            Output("metabolite_concentration", "concentration", "metabolite", 3),
        )

    def rates(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        flow, fraction = 80.0, 0.21
        absorbed = p.KA * a.depot
        hepatic = (absorbed + flow * a.central / p.V) / (flow + p.CL)
        exchange = 20.1 * (a.metabolite / p.VM - a.distributed / 388.0)
        return (
            -absorbed,
            flow * hepatic - flow * a.central / p.V,
            fraction * p.CL * hepatic - p.CLM * a.metabolite / p.VM - exchange,
            exchange,
        )

    def read(self, t: Any, a: Any, p: Any) -> Sequence[Any]:
        return (1000.0 * a.central / p.V, 1000.0 * a.metabolite / p.VM)


class Model(NamedTuple):
    """A structure, and its parameters (columns of theta) from etas (n_eta, n_rows) and rows."""

    structure: Structure
    theta: Callable[[Any, Any], tuple[Any, ...]]
    covariates: dict[str, str] = {}  # noqa: RUF012 - never changed
    predicted: str = "IPRED_NONMEM"
    prepare: Callable[[pd.DataFrame], pd.DataFrame] = lambda table: table


def oral(e, _):
    return 4 * np.exp(e[0]), 70 * np.exp(e[1]), np.exp(e[2])


def michaelis_menten(e, _):
    return 70 * np.exp(e[1]), 1e4 * np.exp(e[0]), 2500 * np.exp(e[3]), np.exp(e[2])


def with_km(e, _):
    return 4 * np.exp(e[0]), 70 * np.exp(e[1]), 1e4, 2500 * np.exp(e[3]), np.exp(e[2])


def with_vmax(e, _):
    return 4 * np.exp(e[0]), 70 * np.exp(e[1]), 1e4 * np.exp(e[3]), 2500, np.exp(e[2])


def with_covariates(e, rows):
    weight, sex = rows.covariates["BW"].to_numpy(), rows.covariates["SEX"].to_numpy()
    cl, v, ka = oral(e, rows)
    return cl * (weight / 75) ** 1.5 * 0.75**sex, v, ka


def dual_absorption(e, rows):
    """Run 921: FREL is the dose's relative bioavailability, with a random effect per occasion."""
    occasion = np.where(rows.occasion == 1, e[4], e[5])
    f = rows.covariates["FREL"].to_numpy() * np.exp(e[3] + occasion)
    return (
        0.27 * np.exp(e[0]), 2.43, 0.99, 25.1 * np.exp(e[2]),
        0.4 * np.exp(e[1]), 0.12, 0.361 * f, 0.639 * f, 0.98,
    )  # fmt: skip


def relative_bioavailability(table):
    """FREL and OCC of run 921's doses, and its second depot where popk has it (CMT 4).

    NONMEM took the bioavailability of a dose, which falls with the dose (AOLA) and with time
    (TOLA), from the record that follows it in time.
    """
    later = table.drop_duplicates(["ID", "TIME"]).set_index(["ID", "TIME"])
    following = later[["AOLA", "TOLA", "CYCLE"]].groupby("ID").shift(-1)
    at = following.reindex(pd.MultiIndex.from_frame(table[["ID", "TIME"]])).ffill()
    over = at["AOLA"].to_numpy() - 200
    declining = 0.499 + 0.501 * np.exp(-0.15 / 24 * at["TOLA"].to_numpy())
    return table.assign(
        FREL=(1 - over / (280 + 200 + over)) * declining,
        OCC=at["CYCLE"].to_numpy().astype(int),
        CMT=table["CMT"].replace(3, 4),
    )


ORAL = OneCompartment(FirstOrder())
MM = OneCompartment(FirstOrder(), MichaelisMenten())
PARALLEL = OneCompartment(FirstOrder(), ParallelMichaelisMenten())
MODELS = {
    **{f"{run}": Model(ORAL, oral) for run in ("001", "002", "403", "404", "405")},
    **{f"{run}": Model(ORAL, oral) for run in ("501", "502", "503", "511")},
    **{f"{run}": Model(ORAL, oral, predicted="NIPRED_NONMEM") for run in ("407", "408")},
    "003": Model(
        OneCompartment(FirstOrder(), dosing=Dosing(lag=1)),
        lambda e, r: (*oral(e, r), np.exp(e[3])),
    ),
    "004": Model(
        OneCompartment(FirstOrder(), dosing=Dosing(duration=2)),
        lambda e, _: (4 * np.exp(e[0]), 70 * np.exp(e[1]), 1.0, 4 * np.exp(e[2])),
    ),
    "005": Model(
        OneCompartment(FirstOrder(), dosing=Dosing(duration=1)),
        lambda e, r: (*oral(e, r), np.exp(e[3])),
    ),
    "007": Model(
        OneCompartment(ParallelFirstOrder()),
        lambda e, r: (*oral(e, r), 0.25 * np.exp(e[3]), 0.2),
    ),
    "008": Model(
        OneCompartment(FirstOrder(), dosing=Dosing(bioavailability=1)),
        lambda e, r: (*oral(e, r), 1 / (1 + np.exp(-e[3]))),
    ),
    "101": Model(
        TwoCompartment(FirstOrder()),
        lambda e, _: (
            4 * np.exp(e[0]), 70 * np.exp(e[1]), 4.0, 50 * np.exp(e[3]), np.exp(e[2]),
        ),
    ),
    "201": Model(MM, michaelis_menten),
    "202": Model(MM, michaelis_menten),
    "203": Model(PARALLEL, with_km),
    "204": Model(PARALLEL, with_km),
    "205": Model(PARALLEL, with_vmax),
    "206": Model(PARALLEL, with_vmax),
    "301": Model(ORAL, with_covariates, {"BW": "kg", "SEX": "1"}),
    "401": Model(
        ParentMetabolite(ORAL),
        lambda e, r: (*oral(e, r), 0.7, 2.5 * np.exp(e[3]), 60 * np.exp(e[4])),
    ),
    "901": Model(
        TwoCompartment(),
        lambda e, _: (
            6.38 * np.exp(e[0]), 9.5 * 1.73 * np.exp(e[1]), 2.7, 9.56 * np.exp(e[2]),
        ),
    ),
    "921": Model(
        TwoCompartment(
            ParallelFirstOrder(split=False), dosing=Dosing(bioavailability=(1, 4), lag=4)
        ),
        dual_absorption,
        {"FREL": "1"},
        prepare=relative_bioavailability,
    ),
    "941": Model(
        Liver(),
        lambda e, _: (
            0.34, 35.7 * np.exp(e[3]), 1360 * np.exp(e[0]), 17.1 * np.exp(e[2]),
            635 * np.exp(e[1]),
        ),
    ),
}  # fmt: skip


def errors(folder, run, model, *, eta_scale=1.0):
    """Relative errors of all observations; exact zeros must be zeros."""
    table = pd.read_csv(folder / f"run{run}_data.csv", na_values=".")
    ebe = pd.read_csv(folder / f"run{run}_ebe.csv")
    eta = ebe[[name for name in ebe if name.startswith("ETA(")]].to_numpy()
    nonmem = table.loc[
        (table["EVID"] == 0) & (table["MDV"] == 0),
        model.predicted if eta_scale else "PRED_NONMEM",
    ].to_numpy()
    table = model.prepare(table.assign(DV=1.0))
    names = [*EVENTS, "OCC", "DV", *model.covariates]
    dataset = read_dataset(
        table[[name for name in names if name in table]],
        units={**UNITS, **model.covariates},
        carry="nonmem" if model.covariates else None,
    )
    rows = dataset.parameter_rows()
    columns = model.theta(eta_scale * eta[rows.subject].T, rows)
    theta = np.column_stack(np.broadcast_arrays(*columns, np.zeros(rows.n_rows)))[:, :-1]
    found = concentrations(model.structure, theta, events_of(dataset, model.structure))
    assert len(found) == len(nonmem) >= 50
    zero = nonmem == 0.0
    assert np.all(found[zero] == 0.0)
    return np.abs(found[~zero] / nonmem[~zero] - 1.0)


@pytest.mark.parametrize("run", sorted(MODELS))
def test_individual_predictions(reference_data, tightly, run):
    model = MODELS[run]
    if model.structure.closed_form is None and model.structure.tolerance > 1e-10:
        model = model._replace(structure=tightly(model.structure))
    error = errors(reference_data / "mapbayr_nonmem", run, model)
    assert np.median(error) <= 1e-7
    assert error.max() <= 1e-5


def test_typical_predictions_of_run_911(reference_data):
    """Steady state of infusions into the depot with a modelled duration and a lag."""
    typical = (
        2.76475997, 0.670061411, 229.433816, 588.954025, 100.262183, 867.881356, 277.506626,
        1541.13611, 77.1330174, 2271.01465, 0.238192092, 0.988670864,
    )  # fmt: skip
    model = Model(FirstPass(Dosing(lag=1, duration=1)), lambda *_: typical)
    error = errors(reference_data / "mapbayr_nonmem", "911", model, eta_scale=0.0)
    assert np.median(error) <= 1e-7
    assert error.max() <= 1e-5
