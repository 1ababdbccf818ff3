"""Printed equations compute what the model computes, and their LaTeX can be set."""

from __future__ import annotations

import math
import pkgutil
import re
from functools import cache
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.mathtext import MathTextParser

from popk import structure as package
from popk.errors import SettingError
from popk.model import PopModel
from popk.model.equations import structure_sections, written_equations
from popk.statistics import (
    IIV,
    IOV,
    NUMPY,
    Additive,
    Autocorrelated,
    BoxCox,
    ByAssay,
    Coefficient,
    Combined,
    CombinedSD,
    Correlated,
    CovariateEffect,
    CustomEffect,
    Exponential,
    Fixed,
    Fold,
    Folds,
    HalfNormal,
    HeavyTails,
    Horseshoe,
    LinearEffect,
    LinearScale,
    LogitScale,
    LogNormal,
    LogNormalError,
    LogScale,
    Maturation,
    Normal,
    Power,
    PowerError,
    Proportional,
    Shrunk,
    StudentTError,
    expected_parameters,
    individual_parameters,
)
from popk.structure import (
    DirectEffect,
    Dosing,
    Emax,
    FirstOrder,
    OneCompartment,
    SigmoidEmax,
    Structure,
    TargetMediated,
    TimeVaryingClearance,
    TwoCompartment,
)
from popk.structure.functions import exp, where_positive

FUNCTIONS = {
    "exp": math.exp, "log": math.log, "sqrt": math.sqrt, "max": max, "abs": abs,
    "logit": lambda x: math.log(x / (1 - x)), "Normal": lambda mean, sd: (mean, sd),
    "StudentT": lambda freedom, centre, scale: (freedom, centre, scale),
}  # fmt: skip
NUMBER = LogNormal(1.0, cv=0.3)
UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L"}


def found():
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if not module.ispkg:
            examples = getattr(import_module(module.name), "examples", tuple)()
            yield from (example for example in examples if isinstance(example, Structure))


EXAMPLES = list(dict.fromkeys(found()))
each = pytest.mark.parametrize("structure", EXAMPLES, ids=repr)


def lines_of(text):
    """Left- and right-hand sides, without the titles and the remarks in parentheses."""
    for line in text.splitlines():
        if line.startswith("  ") and not line.startswith("  ("):
            left, sign, right = re.split(r" (=|~) ", line.strip().split("   (")[0], maxsplit=1)
            yield left, sign, right


def value_of(right, known):
    return eval(right, {"__builtins__": {}}, FUNCTIONS | known)


def example_model(structure, **parts):
    """A model of a structure, all of whose typical values have the same prior."""
    typical = dict.fromkeys(structure.names, NUMBER)
    given = {"typical": typical, "error": Additive(HalfNormal(1.0)), "units": UNITS} | parts
    return PopModel(structure, **given)


@each
def test_the_printed_equations_give_the_outputs_and_rates_of_the_structure(structure):
    text = written_equations(example_model(structure)).split("Individual parameters")[0]
    rng = np.random.default_rng(7)
    for t in (0.0, 3.7, 250.0):
        values = {p.name: p.example * rng.uniform(0.5, 0.9) for p in structure.kinetics}
        amounts = dict(zip(structure.compartments, rng.uniform(0.1, 30.0, 99), strict=False))
        known = values | {f"A_{name}": amount for name, amount in amounts.items()} | {"t": t}
        rates = {}
        for left, sign, right in lines_of(text.split("Doses\n")[0]):
            assert sign == "="
            if rate := re.fullmatch(r"d\(A_(\w+)\)/dt", left):
                rates[rate[1]] = value_of(right, known)
            else:
                assert left not in known, f"{left} is defined twice"
                known[left] = value_of(right, known)
        arguments = (t, SimpleNamespace(**amounts), SimpleNamespace(**values))
        expected = [float(rate) for rate in structure.rates(*arguments)]
        assert list(rates) == list(structure.compartments)
        np.testing.assert_allclose(list(rates.values()), expected, rtol=1e-9, atol=1e-12)
        read = [float(output) for output in structure.read(*arguments)]
        printed = [known[output.name] for output in structure.outputs]
        np.testing.assert_allclose(printed, read, rtol=1e-9, atol=1e-12)


@each
def test_every_parameter_of_a_structure_occurs_in_its_equations(structure):
    words = set()
    for section in structure_sections(structure):
        for formula in section.formulas:
            words |= set(re.findall(r"\w+", formula.text))
    assert set(structure.names) <= words


def latex_lines(model):
    for line in model.equations("latex").splitlines():
        if " & " in line:
            yield line.removesuffix(r" \\[4pt]")


@cache  # most lines stand in many models, and setting them takes time
def check_latex(line):
    """Braces and delimiters balance, and matplotlib can set it (but for choices)."""
    depth = 0
    for character in re.sub(r"\\[{}]", "", line):
        depth += (character == "{") - (character == "}")
        assert depth >= 0, line
    assert depth == 0, line
    assert line.count(r"\left") == line.count(r"\right"), line
    if r"\begin" not in line:
        MathTextParser("path").parse(f"${line.replace('&', '')}$")


@each
def test_the_latex_of_every_structure_balances_and_can_be_set(structure):
    lines = list(latex_lines(example_model(structure)))
    assert len(lines) >= len(structure.compartments) + len(structure.outputs)
    for line in lines:
        check_latex(line)


def covariates():
    def both(x, b):
        share = exp(-b.FALL * x.AGE) + x.AGE * b.RISE
        return 1.0 + share * share / (1.0 + share) + where_positive(x.AGE - 50.0, b.RISE, 0.0)

    coefficients = {"FALL": Normal(0.02, 0.01), "RISE": Normal(0.001, 0.01)}
    return (
        Power("CL", "WT", reference=70.0, exponent=Normal(0.75, 0.2)),
        Fold("CL", "ADA", factor=LogNormal(2.0, cv=0.2)),
        Folds("CL", "RACE", factors={1: LogNormal(1.1, cv=0.1), 2: LogNormal(0.8, cv=0.1)},
              reference=0),
        Maturation("CL", "PMA", tm50=LogNormal(47.7, cv=0.1), hill=LogNormal(3.4, cv=0.1)),
        Exponential("V1", "AGE", slope=Normal(-0.01, 0.01), reference=40.0),
        LinearEffect("V1", "ALB", slope=Normal(-0.02, 0.01), reference=42.0),
        Exponential("Q", "AGE", slope=Normal(0.01, 0.01), reference=0.0),
        CustomEffect("V2", ("AGE",), coefficients=coefficients, factor=both),
    )  # fmt: skip


def rich_model(**parts):
    given = {
        "iiv": IIV(
            {name: HalfNormal(0.3) for name in ("CL", "V1", "V2", "F1", "KA")},
            correlations=[Correlated(("CL", "V1"))],
            shared={"Q": "CL"},
        ),
        "iov": IOV({"CL": HalfNormal(0.2), "F1": HalfNormal(0.2)}),
        "scales": {
            "F1": LogitScale(), "KA": LinearScale(), "ALAG1": LogitScale(0.5, 2.0),
        },
        "typical": dict.fromkeys(("CL", "V1", "Q", "V2", "KA"), NUMBER)
        | {"F1": Fixed(0.6), "ALAG1": Fixed(0.9)},
        "covariates": covariates(),
        "units": UNITS | dict.fromkeys(("ADA", "RACE", "PMA", "AGE"), "1")
        | {"WT": "kg", "ALB": "g/L"},
    }  # fmt: skip
    dosing = Dosing(bioavailability=(1,), lag=(1,))
    return example_model(TwoCompartment(FirstOrder(), dosing=dosing), **given | parts)


@pytest.mark.parametrize("age", [30.0, 61.0])
@pytest.mark.parametrize("race", [0.0, 1.0, 2.0])
def test_the_printed_individual_parameters_are_those_of_the_model(age, race):
    model, rng = rich_model(), np.random.default_rng(11)
    values = {"WT": 52.0, "ADA": 1.0, "RACE": race, "PMA": 60.0, "AGE": age, "ALB": 38.0}
    population = {p.name: float(p.prior.median) for p in model.parameters}
    eta = {f"eta_{name}": rng.normal(0.0, 0.3) for name in model.iiv.effects}
    kappa = {f"kappa_{name}": rng.normal(0.0, 0.3) for name in model.iov.effects}
    names = model.structure.names
    shift = {}
    for name in model.iiv.effects:
        for moved in model.iiv.acts_on(name):
            shift[names.index(moved)] = eta[f"eta_{name}"]
    for name in model.iov.effects:
        shift[names.index(name)] += kappa[f"kappa_{name}"]
    phi = expected_parameters(
        model.scale_of, model.covariates, population=population, covariates=values, ops=NUMPY
    )
    own = individual_parameters(model.scale_of, phi, shift, NUMPY)
    truth = {f"{name}_i": float(x) for name, x in zip(names, own, strict=True)}

    part = model.equations().split("Individual parameters")[1].split("Variability")[0]
    known, printed = population | values | eta | kappa, set()
    for left, _, right in lines_of(part):
        if name := re.search(r"(\w+)_i\b", left):
            printed.add(name[0])
            assert value_of(left, known | truth) == pytest.approx(value_of(right, known)), left
        else:  # a part that is used below
            known[left] = value_of(right, known)
    assert printed == set(truth)


def test_random_effects_and_their_correlations_are_stated():
    shapes = {"V2": BoxCox(Normal(0.0, 0.5)), "KA": HeavyTails(Fixed(5.0))}
    blocks = [Correlated(("CL", "V1", "V2")), Correlated(("F1", "KA"), fixed=[0.4])]
    omegas = {name: HalfNormal(0.3) for name in ("CL", "V1", "V2", "F1", "KA")}
    text = rich_model(iiv=IIV(omegas, correlations=blocks, shapes=shapes)).equations()
    for line in (
        "eta_CL ~ Normal(0, omega_CL)",
        "n_V2 ~ Normal(0, omega_V2)",
        "eta_V2 = (exp(boxcox_V2 * n_V2) - 1) / boxcox_V2",
        "eta_KA = omega_KA * t(n_KA / omega_KA, freedom_KA)",
        "corr(eta_V1, eta_CL) = corr_CL_V1",
        "corr(n_V2, eta_V1) = pcorr_V1_V2   (partial, given eta_CL)",
        "corr(n_KA, eta_F1) = 0.4",
        "kappa_CL ~ Normal(0, omega_iov_CL)",
        "amount(A_depot) = F1 * AMT   (doses into depot, CMT 1)",
        "lag(A_depot) = ALAG1   (doses into depot, CMT 1)",
    ):
        assert f"\n  {line}\n" in text
    names = set(re.findall(r"\w+", text))
    model = rich_model(iiv=IIV(omegas, correlations=blocks, shapes=shapes))
    fixed = {"corr_F1_KA"}
    assert {parameter.name for parameter in model.parameters} - fixed <= names


@pytest.mark.parametrize(
    "error",
    [
        Additive(HalfNormal(1.0)),
        Proportional(HalfNormal(0.3)),
        Combined(HalfNormal(0.3), HalfNormal(1.0)),
        CombinedSD(HalfNormal(0.3), HalfNormal(1.0)),
        PowerError(HalfNormal(0.3), Normal(1.0, 0.1)),
        LogNormalError(HalfNormal(0.3)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("heavy", [False, True])
def test_the_printed_residual_error_has_the_sd_of_the_model(error, heavy):
    error = StudentTError(error, LogNormal(5.0, cv=0.2)) if heavy else error
    model = example_model(OneCompartment(), error=error)
    sigma = {name: float(prior.median) for name, prior in error.priors}
    ((left, sign, right),) = lines_of(model.equations().split("Residual error")[1])
    assert sign == "~"
    *freedom, centre, sd = value_of(right, sigma | {"concentration": 3.2})
    assert left == ("log(DV)" if error.logarithmic else "DV")
    assert centre == pytest.approx(math.log(3.2) if error.logarithmic else 3.2)
    assert sd == pytest.approx(float(error.sd(np.array(3.2), sigma, NUMPY)))
    assert freedom == ([sigma["freedom"]] if heavy else [])


def test_errors_of_outputs_assays_and_time_name_the_parameters_of_the_posterior():
    assays = ByAssay(
        {0: Proportional(HalfNormal(0.3)), 1: LogNormalError(HalfNormal(0.3))},
        scale={1: LogNormal(1.4, cv=0.2)},
    )
    structure = DirectEffect(OneCompartment(), Emax(), unit="%")
    errors = {
        "concentration": assays,
        "effect": Autocorrelated(Additive(HalfNormal(1.0), blq="M1"), LogNormal(3.0, cv=0.5)),
    }
    model = example_model(structure, error=errors)
    text = model.equations().split("Residual error")[1]
    for line in (
        "DV_concentration ~ Normal(concentration, sigma_prop_ASSAY0_concentration * concentration)"
        "   (ASSAY 0)",
        "log(DV_concentration) ~ Normal(log(scale_ASSAY1_concentration * concentration), "
        "sigma_log_ASSAY1_concentration)   (ASSAY 1)",
        "DV_effect ~ Normal(effect, sigma_add_effect)",
        "corr(residual, residual_dt_before) = exp(-log(2) * dt / half_time_effect)",
    ):
        assert f"\n  {line}\n" in text
    assert {name for name, _ in model.error.priors} <= set(re.findall(r"\w+", text))
    assert "(M3) of concentration.)" in text
    assert "(M1) of effect.)" in text
    for line in latex_lines(model):
        check_latex(line)


def test_a_power_that_counts_as_zero_is_told_from_a_product():
    remark = "A power of what is not above zero counts as 0"
    for structure, has in (
        (TwoCompartment(elimination=TimeVaryingClearance()), True),
        (DirectEffect(OneCompartment(), SigmoidEmax()), True),
        (TargetMediated(), False),  # a square
        (OneCompartment(), False),
    ):
        assert (remark in example_model(structure).equations()) == has


class Doubling(CovariateEffect):
    """An effect that popk does not know."""

    parameter, covariates, kind = "CL", ("WT",), "doubling"

    def coefficients_in(self, units):
        return (Coefficient("dose_of_weight", Normal(0.0, 1.0)),)

    def log_factor(self, covariates, coefficients, ops):
        return coefficients["dose_of_weight"] * covariates["WT"]

    def fault(self, covariate, value):
        return None


class Laplace(Additive):
    """An error that popk does not know, though it is derived from one that it does."""


class Softplus(LogScale):
    """A scale that popk does not know."""


def test_what_is_not_known_here_is_named_with_what_it_depends_on():
    model = example_model(
        OneCompartment(),
        covariates=[Doubling()],
        iiv=IIV({"V": HalfNormal(0.3)}),
        scales={"V": Softplus()},
        error=StudentTError(Laplace(HalfNormal(1.0)), Fixed(4.0)),
        units=UNITS | {"WT": "kg"},
    )
    assert "CL_i = CL * factor_Doubling(WT, dose_of_weight)\n" in model.equations()
    assert "scale(V_i) = scale(V) + eta_V   (Softplus())\n" in model.equations()
    assert "DV ~ StudentT(freedom, Laplace(concentration, sigma_add))" in model.equations()


def test_coefficients_that_are_shrunk_keep_their_names():
    screen = Horseshoe("screen", 2, 1.0, 0.3)
    effects = [Exponential("CL", name, slope=Shrunk(screen), reference=0) for name in ("A", "B")]
    model = example_model(OneCompartment(), covariates=effects, units=UNITS | {"A": "1", "B": "1"})
    assert "CL_i = CL * exp(slope_CL_A * A) * exp(slope_CL_B * B)\n" in model.equations()


def test_styles():
    model = rich_model()
    text, markdown, latex = map(model.equations, ("text", "markdown", "latex"))
    assert text == model.equations()
    line = r"V_{1,i} & = V_{1} \cdot \exp\left(\mathrm{slope}_{\mathrm{V1,AGE}} \cdot "
    assert line in markdown
    assert line in latex
    assert markdown.count("$$") == 2 * latex.count("\\[\n") == 2 * latex.count("paragraph")
    assert r"\frac{d A_{\mathrm{central}}}{dt} & = " in latex
    assert r"^{\beta_{\mathrm{CL,WT}}}" in latex
    assert r"\begin{cases}" in latex
    for each_line in latex_lines(model):
        check_latex(each_line)
    with pytest.raises(SettingError, match="style 'html'; expected one of text, markdown, latex"):
        model.equations("html")
