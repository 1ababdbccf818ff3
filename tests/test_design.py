"""What a model makes of data: rows of parameters, outputs, and observations without a dose."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from scipy import stats

from popk.dataset import DataError, read_dataset
from popk.design import check_fit, design_of
from popk.graph import build
from popk.inference.approximation import approximate_likelihood
from popk.model import ModelError, PopModel
from popk.population import PopulationDraws
from popk.statistics import IIV, Fold, LogNormal, Power, Proportional
from popk.structure import (
    DirectEffect,
    Dosing,
    Emax,
    FirstOrder,
    IndirectResponse,
    OneCompartment,
    ZeroOrder,
)

WEIGHTS = {"A": (4.0, 5.0, 5.5, 7.0, 9.0, 9.0), "B": (60.0,) * 4, "C": (12.0, 12.0, 11.0, 14.0)}
CARRIES = ("nonmem", "locf")


def records_of(fits):
    return {name: fits.growing(name, weights) for name, weights in WEIGHTS.items()}


def varying(fits, carry):
    return fits.dataset(*(r for own in records_of(fits).values() for r in own), carry=carry)


def model_of(fits):
    """CL and V follow the weight."""
    base = fits.one_compartment(covariates=True, cv=0.3)
    volume = Power("V", "WT", reference=70, exponent=LogNormal(1.0, cv=0.3))
    return PopModel(
        base.structure, typical=base.typical, iiv=base.iiv, error=base.error,
        covariates=(*base.covariates, volume), units=base.units,
    )  # fmt: skip


def predicted(fits, values, eta, carry):
    """Concentrations of every subject at its observations, one after the other."""
    found = []
    for (_, records), (eta_cl, eta_v) in zip(records_of(fits).items(), eta, strict=True):
        found.append(
            fits.walk(
                records,
                lambda w, e=eta_cl: values["CL"] * (w / 70) ** values["beta_CL_WT"] * np.exp(e),
                lambda w, e=eta_v: values["V"] * (w / 70) ** values["beta_V_WT"] * np.exp(e),
                carry=carry,
            )
        )
    return found


def population_at(point):
    return {name.removesuffix("_log__"): np.exp(value) for name, value in point.items()}


def points(built, n=3):
    rng = np.random.default_rng(4)
    return [
        {k: v + 0.3 * rng.standard_normal(v.shape) for k, v in built.initial_point().items()}
        for _ in range(n)
    ]


def test_one_row_for_each_set_of_covariates_that_the_model_uses(fits):
    data = varying(fits, "locf")
    design = check_fit(model_of(fits), data)
    assert design.varies
    assert np.diff(design.rows.first).tolist() == [5, 1, 3]
    assert design.covariates["WT"].tolist() == [4.0, 5.0, 5.5, 7.0, 9.0, 60.0, 12.0, 11.0, 14.0]
    assert design.first.tolist() == [0, 5, 6]
    assert design.occasion.tolist() == [0] * 9
    without = check_fit(fits.one_compartment(), data)
    assert not without.varies
    assert without.covariates == {}


@pytest.mark.parametrize("carry", CARRIES)
def test_the_likelihood_follows_the_covariate(fits, carry):
    data = varying(fits, carry)
    built = build(model_of(fits), data)
    compiled = built.compile_logp(vars=built.observed_RVs, sum=False, mode="FAST_COMPILE")
    for point in points(built):
        values = population_at({k: v for k, v in point.items() if k != "z"})
        omega = np.array([values["omega_CL"], values["omega_V"]])
        f = np.concatenate(predicted(fits, values, point["z"] * omega, carry))
        expected = stats.norm.logpdf(20.0, f, values["sigma_prop"] * f)
        np.testing.assert_allclose(compiled(point)[0], expected, rtol=1e-9)


@pytest.mark.parametrize("adapted", [False, True])
def test_its_gradient_is_that_of_finite_differences(fits, adapted):
    built = build(model_of(fits), varying(fits, "nonmem"), adapted=adapted)
    if adapted:
        rng = np.random.default_rng(2)
        root = rng.standard_normal((3, 2, 2)) * 2.0
        with built:
            pm.set_data({"curvature": root @ root.transpose(0, 2, 1)})
            pm.set_data({"pull": rng.standard_normal((3, 2))})
    density = built.compile_logp(mode="FAST_COMPILE")
    gradient = built.compile_dlogp(mode="FAST_COMPILE")
    names = [built.rvs_to_values[variable].name for variable in built.free_RVs]
    point = points(built, 1)[0]
    found, at = gradient(point), 0
    for name in names:
        for place in np.ndindex(point[name].shape):
            step = np.zeros(point[name].shape)
            step[place] = 1e-5
            up, down = (density(point | {name: point[name] + s * step}) for s in (1, -1))
            assert found[at] == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-5), name
            at += 1
    assert at == len(found)


def test_adapted_coordinates_have_their_determinant_with_rows_too(fits):
    """p(u) = p(z) |dz/du|; the effects are affine in u, and shift all rows alike."""
    data = varying(fits, "locf")
    plain = build(model_of(fits), data)
    built = build(model_of(fits), data, adapted=True)
    rng = np.random.default_rng(5)
    root = rng.standard_normal((3, 2, 2)) * 3.0
    with built:
        pm.set_data({"curvature": root @ root.transpose(0, 2, 1)})
        pm.set_data({"pull": rng.standard_normal((3, 2))})
    density, exact = (m.compile_logp(mode="FAST_COMPILE") for m in (built, plain))
    (graph,) = built.replace_rvs_by_values([built["eta"]])
    eta = built.compile_fn(graph, inputs=built.value_vars, mode="FAST_COMPILE",
                           on_unused_input="ignore")  # fmt: skip
    for point in points(built, 2):
        omega = np.exp([point["omega_CL_log__"], point["omega_V_log__"]])

        def effects(u, point=point, omega=omega):
            return (eta(point | {"u": u.reshape(3, 2)}) / omega).ravel()

        u = point["u"].ravel()
        columns = [(effects(u + step) - effects(u - step)) / 2 for step in np.eye(6)]
        log_determinant = np.linalg.slogdet(np.stack(columns, axis=1))[1]
        moved = {k: v for k, v in point.items() if k != "u"} | {"z": effects(u).reshape(3, 2)}
        assert abs(log_determinant) > 0.1
        assert density(point) == pytest.approx(exact(moved) + log_determinant, rel=1e-8)


def test_rows_have_their_parameters_in_the_graph(fits):
    built = build(model_of(fits), varying(fits, "locf"))
    assert built.named_vars_to_dims["row_parameters"] == ("row", "parameter")
    assert built.named_vars_to_dims["WT"] == ("row",)
    assert built["row_subject"].get_value().tolist() == [0] * 5 + [1] + [2] * 3
    names = ("parameters", "row_parameters")
    graphs = built.replace_rvs_by_values([built[name] for name in names])
    evaluate = built.compile_fn(graphs, inputs=built.value_vars, mode="FAST_COMPILE",
                                on_unused_input="ignore")  # fmt: skip
    point = points(built, 1)[0]
    first, rows = evaluate(point)
    np.testing.assert_array_equal(first, rows[[0, 5, 6]])
    values = population_at({k: v for k, v in point.items() if k != "z"})
    weights = np.array([4.0, 5.0, 5.5, 7.0, 9.0])
    expected = (weights / weights[0]) ** values["beta_CL_WT"]
    np.testing.assert_allclose(rows[:5, 0] / rows[0, 0], expected)
    constant = build(model_of(fits), fits.dataset(*fits.history("A")))
    assert "row_parameters" not in constant.named_vars
    assert constant.named_vars_to_dims["WT"] == ("subject",)


def test_the_quadratic_approximation_moves_all_rows_of_a_subject(fits):
    """Its slope at the point is that of the likelihood by the random effects."""
    model, data = model_of(fits), varying(fits, "nonmem")
    values = {p.name: p.prior.median for p in model.parameters}
    eta = np.array([[0.2, -0.1], [-0.3, 0.1], [0.05, 0.2]])
    found = approximate_likelihood(model, data, [values | {"eta": eta}])
    curvature, by_row = found["curvature"], found["curvature_of_rows"]
    design = check_fit(model, data)
    draws = PopulationDraws(model, {name: np.array([value]) for name, value in values.items()})
    centre = np.log(draws.row_parameters(design, eta[None])[0])
    at_centre = np.einsum("ijk,ik->ij", by_row, centre)
    slope = found["pull"] - np.add.reduceat(at_centre, design.first, axis=0)
    np.testing.assert_allclose(np.add.reduceat(by_row, design.first, axis=0), curvature)

    def likelihood(shift):
        found = predicted(fits, values, eta + shift, "nonmem")
        return np.array([stats.norm.logpdf(20.0, f, values["sigma_prop"] * f).sum() for f in found])

    for k in range(2):
        step = np.zeros(2)
        step[k] = 1e-5
        expected = (likelihood(step) - likelihood(-step)) / 2e-5
        np.testing.assert_allclose(slope[:, k], expected, rtol=1e-4, atol=1e-4)
    assert np.all(np.linalg.eigvalsh(curvature) > -1e-9)
    assert np.all(np.trace(curvature, axis1=1, axis2=2) > 1.0)


def antibodies(fits, values, carry):
    """A model with an effect of ADA on CL and V, and one subject's data with these values."""
    units = fits.UNITS | {"ADA": "1"}
    base = fits.one_compartment()
    effects = [Fold(name, "ADA", factor=LogNormal(2.0, cv=0.3)) for name in ("CL", "V")]
    model = PopModel(
        base.structure, typical=base.typical, error=base.error, covariates=effects, units=units
    )
    frame = fits.dataset(*fits.history("A")).to_frame().assign(ADA=values)
    return model, read_dataset(frame, units=units, carry=carry)


def test_covariates_are_checked_on_every_row(fits):
    with pytest.raises(DataError) as refusal:
        build(*antibodies(fits, [0, 0, 1, 1, 2, 2], "locf"))
    found = [(p.row, p.id, p.column, p.message) for p in refusal.value.problems]
    assert found == [(5, "A", "ADA", "ADA is 2, but a fold of ADA needs 0 or 1.")]


def test_interpolation_between_yes_and_no_is_refused(fits):
    with pytest.raises(DataError) as refusal:
        build(*antibodies(fits, [0, 0, 1, 1, 1, 1], "linear"))
    (problem,) = refusal.value.problems
    assert "gives ADA values between those of the records, such as 0." in problem.message
    assert problem.column == "ADA"
    assert check_fit(*antibodies(fits, [0, 0, 1, 1, 1, 1], "locf")).varies


# ---- what is observed, and whether there was a dose ----

EFFECT = DirectEffect(OneCompartment(), response=Emax())
RESPONSE = IndirectResponse(OneCompartment())
UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L"}


def with_structure(structure):
    return PopModel(
        structure,
        typical={p.name: LogNormal(p.example, cv=0.3) for p in structure.parameters},
        iiv=IIV(),
        error=Proportional(LogNormal(0.2, cv=0.3)),
        units=UNITS,
    )


def table(*rows):
    """(TIME, EVID, AMT, then any of CMT, RATE, SS, II, DVID, ADDL) of one subject."""
    frame = pd.DataFrame(
        [
            {"ID": 1, "TIME": t, "EVID": evid, "AMT": amt, "DV": np.nan if evid else 1.0} | more
            for t, evid, amt, more in rows
        ]
    )
    for name in ("CMT", "RATE", "SS", "II", "ADDL"):
        frame[name] = frame[name].fillna(0) if name in frame else 0
    return read_dataset(frame, units=UNITS)


def test_several_kinds_of_observation_are_refused_and_one_is_not():
    rows = [(0.0, 1, 100.0, {}), (1.0, 0, np.nan, {"DVID": 1}), (2.0, 0, np.nan, {"DVID": 2})]
    model = with_structure(EFFECT)
    with pytest.raises(ModelError, match=r"observations of concentration and effect.*one residual"):
        build(model, table(*rows))
    for k in (1, 2):
        alone = table(rows[0], rows[k])
        assert check_fit(model, alone).outputs == (k - 1,)
        built = build(model, alone)
        assert np.isfinite(built.compile_logp(mode="FAST_COMPILE")(built.initial_point()))


DEPOT = OneCompartment(absorption=FirstOrder())
LAGGED = OneCompartment(dosing=Dosing(lag=(1,)))
SEEN = (0.0, 0, np.nan, {})


@pytest.mark.parametrize(
    ("structure", "rows", "refused"),
    [
        (OneCompartment(), [(0.0, 1, 9.0, {}), SEEN], False),
        (OneCompartment(), [SEEN, (0.0, 1, 9.0, {})], True),
        (OneCompartment(), [(0.0, 1, 9.0, {"RATE": 9.0}), SEEN], True),
        (OneCompartment(), [(-1.0, 1, 9.0, {"RATE": 9.0}), SEEN], False),
        (OneCompartment(), [(0.0, 1, 9.0, {"SS": 1, "II": 1, "RATE": 20.0}), SEEN], False),
        (OneCompartment(), [(0.0, 1, 0.0, {"SS": 1, "RATE": 20.0}), SEEN], False),
        (OneCompartment(), [(-2.0, 1, 9.0, {}), (-1.0, 3, np.nan, {}), SEEN], True),
        (OneCompartment(), [(-2.0, 1, 9.0, {}), (-1.0, 4, 9.0, {}), SEEN], False),
        (OneCompartment(), [(-2.0, 1, 9.0, {"ADDL": 3, "II": 7}), SEEN], False),
        (OneCompartment(absorption=ZeroOrder()), [(0.0, 1, 9.0, {}), SEEN], True),
        (LAGGED, [(0.0, 1, 9.0, {}), SEEN], True),
        (LAGGED, [(-1.0, 1, 9.0, {}), SEEN], False),
        (DEPOT, [(0.0, 1, 9.0, {}), SEEN], True),
        (DEPOT, [(0.0, 1, 9.0, {"SS": 1, "II": 1}), SEEN], False),
        (DEPOT, [(-0.01, 1, 9.0, {}), SEEN], False),
        (DEPOT, [(0.0, 1, 9.0, {"CMT": 2}), SEEN], False),
        (RESPONSE, [SEEN, (0.0, 1, 9.0, {})], True),
        (RESPONSE, [(0.0, 0, np.nan, {"DVID": 2}), (0.0, 1, 9.0, {})], False),
    ],
)
def test_only_what_is_zero_whatever_the_parameters_is_refused(structure, rows, refused):
    later = (5.0, 0, np.nan, {k: v for k, v in rows[0][3].items() if k == "DVID"})
    model, data = with_structure(structure), table(*rows, later)
    if refused:
        with pytest.raises(DataError, match="comes before any dose has had an effect"):
            check_fit(model, data)
        return
    built = build(model, data)
    assert np.isfinite(built.compile_logp(mode="FAST_COMPILE")(built.initial_point()))


def test_a_lag_that_has_not_passed_makes_a_value_impossible_not_undefined():
    built = build(with_structure(LAGGED), table((-0.01, 1, 9.0, {}), SEEN, (5.0, 0, np.nan, {})))
    point = built.initial_point()
    compiled = built.compile_logp(vars=built.observed_RVs, sum=False, mode="FAST_COMPILE")
    gradient = built.compile_dlogp(mode="FAST_COMPILE")
    assert np.isfinite(compiled(point | {"ALAG1_log__": np.log(0.001)})[0]).all()
    before = point | {"ALAG1_log__": np.log(0.5)}
    assert compiled(before)[0][0] == -np.inf
    assert np.isfinite(gradient(before)).all()


def test_parameters_of_doses_are_parameters_of_the_model():
    structure = OneCompartment(
        absorption=FirstOrder(), dosing=Dosing(bioavailability=(1,), lag=(1,), duration=(2,))
    )
    model = with_structure(structure)
    assert [p.name for p in model.parameters][:6] == ["CL", "V", "KA", "F1", "ALAG1", "D2"]
    assert [p.unit for p in model.parameters][:6] == ["L/d", "L", "1/d", "1", "d", "d"]
    data = table(
        (0.0, 1, 9.0, {}), (1.0, 1, 9.0, {"CMT": 2, "RATE": -2.0}),
        *((t, 0, np.nan, {}) for t in (1.2, 1.5, 3.0)),
    )  # fmt: skip
    built = build(model, data)
    point = built.initial_point()
    density = built.compile_logp(mode="FAST_COMPILE")
    names = [built.rvs_to_values[variable].name for variable in built.free_RVs]
    for name, slope in zip(names, built.compile_dlogp(mode="FAST_COMPILE")(point), strict=True):
        up, down = (density(point | {name: point[name] + s}) for s in (1e-5, -1e-5))
        assert slope == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-4), name


def test_predictions_can_be_asked_of_outputs_that_are_not_observed():
    data = table((0.0, 1, 9.0, {}), (1.0, 0, np.nan, {"DVID": 2}), (2.0, 2, np.nan, {"DVID": 1}))
    model = with_structure(EFFECT)
    assert check_fit(model, data).outputs == (1,)
    assert design_of(model, data, everywhere=True).outputs == (0, 1)
