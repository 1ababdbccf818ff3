"""Centred and non-centred effects in the PyMC model: other coordinates of the same density."""

import numpy as np
import pandas as pd
import pytest

from popk.dataset import read_dataset
from popk.design import design_of
from popk.errors import SettingError
from popk.graph import build
from popk.inference import NUTS
from popk.inference.forms import centred_coordinates
from popk.model import PopModel
from popk.population import PopulationDraws
from popk.statistics import (
    IIV,
    Correlated,
    HalfNormal,
    LogNormal,
    LogNormalError,
    Normal,
    Power,
    check_forms,
)
from popk.structure import FirstOrder, OneCompartment

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"}
EFFECTS = ("CL", "V", "KA")
MODEL = PopModel(
    OneCompartment(absorption=FirstOrder()),
    typical={"CL": LogNormal(0.2, cv=0.2), "V": LogNormal(5, cv=0.2), "KA": LogNormal(1, cv=0.2)},
    iiv=IIV(
        {name: HalfNormal(0.4) for name in EFFECTS},
        correlations=[Correlated(("V", "CL"))],
    ),
    covariates=[Power("CL", "WT", reference=70, exponent=Normal(0.75, 0.2))],
    error=LogNormalError(LogNormal(0.2, cv=0.2)),
    units=UNITS,
)
CHOICES = [
    (True, {"KA": "centred"}),
    (False, {"CL": "centred", "V": "centred", "KA": "non-centred"}),
    (True, {"CL": "non-centred", "V": "non-centred", "KA": "centred"}),
]


def data(changing):
    """Two subjects; the weight of the second changes where asked for."""
    records = []
    for subject, weights in (("A", (60, 60, 60)), ("B", (80, 80, 95 if changing else 80))):
        for k, (time, dv, weight) in enumerate(zip((0, 2, 20), (0, 40, 25), weights, strict=True)):
            amount = np.nan if k else 300.0
            records.append((subject, time, int(k == 0), amount, dv or np.nan, weight))
    names = ["ID", "TIME", "EVID", "AMT", "DV", "WT"]
    return read_dataset(pd.DataFrame(records, columns=names), units=UNITS, carry="locf")


def evaluated(built, names):
    graphs = built.replace_rvs_by_values([built[name] for name in names])
    return built.compile_fn(
        graphs, inputs=built.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
    )


def unsigned(point):
    """The point for SDs that are not signed, and by how much more density they have there."""
    moved, folded = {}, 0.0
    for key, value in point.items():
        name = key.removesuffix("_signed")
        if name != key:
            moved[f"{name}_log__"] = np.log(np.abs(value))
            folded += np.log(2) + np.log(np.abs(value))
        elif key != "u":
            moved[key] = value
    return moved, folded


@pytest.mark.parametrize(("changing", "forms"), CHOICES, ids=str)
def test_the_density_changes_by_the_determinant_alone(changing, forms):
    import pymc as pm

    cohort = data(changing)
    plain = build(MODEL, cohort)
    built = build(MODEL, cohort, adapted=True, forms=forms)
    rng = np.random.default_rng(3)
    places = [e for e, name in enumerate(EFFECTS) if forms.get(name) == "centred"]
    location, scale = np.zeros((2, 3)), np.zeros((2, 3))
    location[:, places] = rng.standard_normal((2, len(places)))
    scale[:, places] = rng.uniform(0.2, 2.0, (2, len(places)))
    n_rows = design_of(MODEL, cohort).rows.n_rows
    root = rng.standard_normal((n_rows, 3, 3))
    rows = root @ root.transpose(0, 2, 1)
    owner = design_of(MODEL, cohort).rows.subject
    if places:
        with built:
            pm.set_data({"centred_location": location, "centred_scale": scale})
    if len(forms) < 3:
        with built:
            pm.set_data({"pull": rng.standard_normal((2, 3))})
            pm.set_data({"curvature": np.stack([rows[owner == i].sum(axis=0) for i in range(2)])})
            if changing:
                pm.set_data({"curvature_of_rows": rows})
    density = {b: b.compile_logp(mode="FAST_COMPILE") for b in (plain, built)}
    effects = evaluated(built, ["eta", *(f"omega_{name}" for name in EFFECTS), "corr_V_CL"])
    start = built.initial_point()
    point = {k: v + 0.3 * rng.standard_normal(v.shape) for k, v in start.items()}

    def z_of(flat):
        """In the order of the effects; V stands first in its block."""
        eta, *omega, rho = effects(point | {"u": flat.reshape(2, 3)})
        x = eta / np.array(omega)
        return np.stack([(x[:, 0] - rho * x[:, 1]) / np.sqrt(1 - rho**2), *x[:, 1:].T], axis=1)

    flat = point["u"].ravel()
    rises = [(z_of(flat + e) - z_of(flat - e)).ravel() / 2 for e in np.eye(6)]
    log_determinant = np.linalg.slogdet(np.stack(rises, axis=1))[1]
    z = z_of(flat)
    same = [e for e, name in enumerate(EFFECTS) if forms.get(name) == "non-centred"]
    # An SD that stands alone may be signed.
    np.testing.assert_allclose(np.abs(z[:, same]), np.abs(point["u"][:, same]), atol=1e-10)
    moved, folded = unsigned(point)
    moved["z"] = z
    expected = density[plain](moved) - folded + log_determinant
    assert density[built](point) == pytest.approx(float(expected), rel=1e-6)
    if places:
        assert abs(log_determinant) > 0.3
        # The coordinate is the parameter itself: other SDs leave it where it is.
        other = {k: v + 0.5 if k.startswith("omega") else v for k, v in point.items()}
        one, two = effects(point)[0], effects(other | {"u": point["u"]})[0]
        np.testing.assert_allclose(one[:, places], two[:, places], atol=1e-10)


def test_the_offset_is_the_mean_of_the_parameter_and_the_scale_its_sd():
    cohort = data(True)
    forms = check_forms(MODEL.iiv, {"KA": "centred", "CL": "centred", "V": "centred"})
    population = PopulationDraws.from_prior(MODEL, 5, np.random.default_rng(1))
    eta = population.new_effects(2, np.random.default_rng(2))
    draws = [{n: v[k] for n, v in population.values.items()} | {"eta": eta[k]} for k in range(5)]
    found = centred_coordinates(MODEL, cohort, forms, draws)
    phi = np.log(population.values["CL"])[:, None] + eta[..., 0]
    phi += population.values["beta_CL_WT"][:, None] * np.log(np.array([60.0, 80.0]) / 70)
    np.testing.assert_allclose(found["centred_location"][:, 0], phi.mean(axis=0))
    np.testing.assert_allclose(found["centred_scale"][:, 0], phi.std(axis=0))
    single = centred_coordinates(MODEL, cohort, forms, draws[:1])
    np.testing.assert_allclose(single["centred_scale"][:, 2], population.values["omega_KA"][0])
    none = check_forms(MODEL.iiv, {"KA": "non-centred"})
    assert centred_coordinates(MODEL, cohort, none, draws) == {}


def test_forms_are_checked_when_the_sampler_is_made_and_when_it_meets_the_model():
    with pytest.raises(SettingError, match="NUTS was given the form 'middle' for CL; expected one"):
        NUTS(forms={"CL": "middle"})
    with pytest.raises(SettingError, match=r"NUTS was given forms='centred'; give a mapping such"):
        NUTS(forms="centred")
    with pytest.raises(SettingError, match="forms names Q, which has no random effect between"):
        build(MODEL, data(False), adapted=True, forms={"Q": "centred"})


def test_sds_of_correlated_effects_are_not_signed():
    """Two signs that differ would turn the correlation of the random effects round."""
    built = build(MODEL, data(False), adapted=True)
    names = {variable.name for variable in built.value_vars}
    assert {"omega_CL_log__", "omega_V_log__", "omega_KA_signed"} <= names
