"""PopModel as a value: what it refuses, its hash, its text and its JSON."""

from __future__ import annotations

import json
import pickle
from importlib import import_module
from pkgutil import iter_modules

import pytest
from popk.models import natalizumab, nimotuzumab

from popk import statistics
from popk import structure as structures
from popk.errors import SettingError
from popk.model import ModelError, PopModel
from popk.statistics import (
    IIV,
    Additive,
    Beta,
    Combined,
    Correlation,
    Fixed,
    Fold,
    HalfCauchy,
    HalfNormal,
    HalfStudentT,
    LogitNormal,
    LogNormal,
    Normal,
    Power,
    Proportional,
    StudentT,
    Uniform,
)
from popk.structure import Custom, Dosing, OneCompartment, ParallelMichaelisMenten, TwoCompartment

UNITS = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg", "ADA": "1"}
PARTS = {
    "structure": OneCompartment(),
    "typical": {"CL": LogNormal(0.2, cv=0.3), "V": LogNormal(4.0, cv=0.2)},
    "iiv": IIV({"CL": HalfNormal(0.4), "V": HalfNormal(0.3)}),
    "covariates": (
        Power("CL", "WT", reference=70.0, exponent=Normal(0.6, 0.2)),
        Fold("CL", "ADA", factor=LogNormal(2.45, cv=0.3)),
    ),
    "error": Combined(HalfNormal(0.3), HalfNormal(1.0)),
    "units": UNITS,
    "name": "example",
    "notes": ("A note.",),
}


def model(**changes):
    parts = PARTS | changes
    return PopModel(parts.pop("structure"), **parts)


def faults(**changes):
    with pytest.raises(ModelError) as refusal:
        model(**changes)
    return refusal.value.faults


CL, V = PARTS["typical"].values()
HAS = "which OneCompartment does not have (it has CL, V)."


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"typical": {"CL": CL}}, "OneCompartment needs a typical value for V; typical has none."),
        ({"typical": {"CL": CL, "V": V, "KA": CL}}, f"typical names KA, {HAS}"),
        (
            {"typical": {"CL": Normal(0.2, 0.1), "V": V}},
            "the typical value of CL has the prior Normal(0.2, 0.1), which allows values of zero "
            "or below; use LogNormal(median, cv).",
        ),
        (
            {"typical": {"CL": Fixed(0.0), "V": V}},
            "the typical value of CL has the prior Fixed(0), which allows values of zero "
            "or below; use LogNormal(median, cv).",
        ),
        ({"iiv": IIV({"KA": HalfNormal(0.3)})}, f"iiv names KA, {HAS}"),
        ({"iiv": IIV([("CL", HalfNormal(0.3))] * 2)}, "iiv names CL twice."),
        (
            {"iiv": IIV({"CL": Normal(0.3, 0.1)})},
            "iiv of CL has the prior Normal(0.3, 0.1); an SD needs one above zero (HalfNormal).",
        ),
        (
            {"covariates": (Power("Q", "WT", reference=70.0),)},
            f"a covariate effect acts on Q, {HAS}",
        ),
        (
            {"covariates": (Power("CL", "AGE", reference=40.0),)},
            "the covariate AGE has no unit; add it to units, for example "
            '"AGE": "kg" ("1" if it has none).',
        ),
        (
            {"covariates": (Power("CL", "WT", reference=70.0),) * 2},
            "the effect of WT on CL is given twice.",
        ),
        (
            {"error": Proportional(Normal(0.2, 0.1))},
            "sigma_prop has the prior Normal(0.2, 0.1); an SD needs one above zero (HalfNormal).",
        ),
        (
            {"structure": "one"},
            "structure was given 'one'; expected a structure such as TwoCompartment().",
        ),
        (
            {"error": HalfNormal(0.3)},
            "error was given HalfNormal(0.3); expected a residual error such as Proportional(...).",
        ),
        (
            {"iiv": {"CL": HalfNormal(0.3)}},
            "iiv was given {'CL': HalfNormal(0.3)}; expected IIV({...}).",
        ),
        (
            {"typical": {"CL": 0.2, "V": V}},
            "typical['CL'] was given 0.2; expected a prior such as LogNormal(0.2, cv=0.3).",
        ),
        (
            {"iiv": IIV({"CL": 0.2})},
            "iiv['CL'] was given 0.2; expected a prior such as HalfNormal(0.4).",
        ),
        (
            {"covariates": ("WT",)},
            "covariates[0] was given 'WT'; expected an effect such as Power('CL', 'WT', ...).",
        ),
    ],
)
def test_refusals(changes, sentence):
    assert faults(**changes) == (sentence,)


def test_everything_wrong_is_said_at_once():
    found = faults(
        typical={"CL": Normal(0.2, 0.1), "V1": V},
        iiv=IIV({"V2": HalfNormal(0.3)}),
        covariates=(Power("CL", "AGE", reference=40.0),),
    )
    assert len(found) == 5
    text = str(ModelError(found))
    assert text.startswith(
        "The model cannot be used:\n  OneCompartment needs a typical value for V"
    )
    assert text.count("\n") == 5
    assert str(ModelError(["it is so."])) == "The model cannot be used: it is so."


def test_wrong_units_are_refused_in_the_words_of_units():
    with pytest.raises(ModelError, match=r"The model cannot be used: .*mgg"):
        model(units=UNITS | {"amount": "mgg"})
    with pytest.raises(ModelError, match="concentration"):
        model(units={"time": "d", "amount": "mg"})


def test_a_fixed_value_and_no_variability_are_possible():
    small = model(typical={"CL": Fixed(0.2), "V": V}, iiv=None, covariates=())
    assert small.iiv.effects == ()
    assert [p.name for p in small.parameters] == ["CL", "V", "sigma_prop", "sigma_add"]


def test_parameters_in_the_order_of_tables_with_units_and_meanings():
    found = {p.name: (p.unit, p.meaning) for p in model().parameters}
    assert list(found) == [
        "CL", "V", "beta_CL_WT", "fold_CL_ADA", "omega_CL", "omega_V", "sigma_prop", "sigma_add",
    ]  # fmt: skip
    assert found["CL"] == ("L/d", "typical clearance")
    assert found["V"] == ("L", "typical volume of distribution")
    assert found["fold_CL_ADA"] == ("1", "factor on CL where ADA is 1")
    assert found["omega_CL"] == ("1", "SD of log CL between subjects (IIV)")
    assert found["sigma_prop"] == ("1", "residual error, proportional SD")
    assert found["sigma_add"] == ("mg/L", "residual error, additive SD")


def test_the_order_in_which_typical_values_are_given_does_not_matter():
    other = model(typical={"V": V, "CL": CL})
    assert other == model()
    assert other.hash == model().hash
    assert [name for name, _ in other.typical] == ["CL", "V"]


def test_equality_and_hash():
    assert model() == model()
    assert hash(model()) == hash(model())
    assert model() != model(name="other")
    assert len({model(), model(), model(name="other")}) == 2
    assert pickle.loads(pickle.dumps(model())) == model()
    with pytest.raises(AttributeError):
        model().name = "other"


def test_the_hash_is_that_of_the_numbers():
    reference = model().hash
    assert model(name="other", notes=("Other notes.",)).hash == reference
    changed = [
        model(typical={"CL": LogNormal(0.2001, cv=0.3), "V": V}),
        model(typical={"CL": LogNormal(0.2, cv=0.31), "V": V}),
        model(typical={"CL": Fixed(0.2), "V": V}),
        model(iiv=IIV({"CL": HalfNormal(0.4)})),
        model(iiv=IIV({"CL": HalfNormal(0.4), "V": HalfNormal(0.31)})),
        model(covariates=PARTS["covariates"][:1]),
        model(covariates=(Power("CL", "WT", reference=71.0, exponent=Normal(0.6, 0.2)),)),
        model(error=Additive(HalfNormal(1.0))),
        model(error=Combined(HalfNormal(0.3), HalfNormal(1.1))),
        model(units=UNITS | {"time": "h"}),
        model(
            structure=OneCompartment(elimination=ParallelMichaelisMenten()),
            typical=PARTS["typical"] | {"VMAX": V, "KM": V},
        ),
    ]
    hashes = {reference, *(other.hash for other in changed)}
    assert len(hashes) == len(changed) + 1


def test_json_brings_the_model_back():
    again = PopModel.from_json(model().to_json())
    assert again == model()
    assert again.hash == model().hash
    assert again.notes == ("A note.",)
    bare = model(iiv=None, covariates=(), notes=())
    assert PopModel.from_json(bare.to_json()) == bare


def test_json_with_an_unknown_part_is_refused():
    content = json.loads(model().to_json())
    content["error"]["type"] = "Poisson"
    with pytest.raises(ModelError, match="it uses Poisson, which is not known here; import what"):
        PopModel.from_json(json.dumps(content))


def test_text_shows_structure_priors_units_and_notes():
    lines = str(model()).splitlines()
    assert lines[0] == "example: OneCompartment()"
    assert lines[1] == "error: Combined"
    assert " ".join(lines[2].split()) == "CL LogNormal(0.2, cv=0.3) L/d typical clearance"
    assert lines[-2].split() == [
        "sigma_add", "HalfNormal(1)", "mg/L", "residual", "error,", "additive", "SD",
    ]  # fmt: skip
    assert lines[-1] == "  note: A note."
    starts = {
        line.index(p.meaning) for line, p in zip(lines[2:-1], model().parameters, strict=True)
    }
    assert len(starts) == 1
    assert repr(model()).startswith("<PopModel example: OneCompartment(), hash ")


def test_two_compartments_want_their_own_parameters():
    found = faults(structure=TwoCompartment(), iiv=None, covariates=())
    assert found == (
        "TwoCompartment needs a typical value for V1; typical has none.",
        "TwoCompartment needs a typical value for Q; typical has none.",
        "TwoCompartment needs a typical value for V2; typical has none.",
        "typical names V, which TwoCompartment does not have (it has CL, V1, Q, V2).",
    )


ALL = [
    structure
    for module in iter_modules(structures.__path__, "popk.structure.")
    for structure in getattr(import_module(module.name), "examples", tuple)()
    if isinstance(structure, structures.Structure)
]


@pytest.mark.parametrize("structure", ALL, ids=repr)
def test_a_model_with_any_structure_survives_json(structure):
    own = model(
        structure=structure,
        typical={p.name: LogNormal(p.example, cv=0.3) for p in structure.parameters},
        iiv=None,
        covariates=(),
    )
    again = PopModel.from_json(own.to_json())
    assert again == own
    assert again.structure == structure
    assert again.hash == own.hash
    assert str(again) == str(own)


def test_parts_left_empty_do_not_change_the_hash():
    plain = model()
    same = model(structure=OneCompartment(absorption=None, dosing=Dosing()))
    assert same.hash == plain.hash
    stored = json.loads(plain.to_json())["structure"]
    assert stored == {"type": "OneCompartment", "elimination": {"type": "Linear"}}
    lagged = model(
        structure=OneCompartment(dosing=Dosing(lag=(1,))), typical=PARTS["typical"] | {"ALAG1": V}
    )
    assert lagged.hash != plain.hash
    stored = json.loads(lagged.to_json())["structure"]
    assert stored["dosing"] == {"type": "Dosing", "lag": [1]}
    assert PopModel.from_json(lagged.to_json()) == lagged
    assert str(lagged).startswith("example: OneCompartment(dosing=Dosing(lag=(1,)))")


def test_settings_are_stored_where_they_were_given():
    def saturable(**given):
        return model(
            structure=OneCompartment(elimination=ParallelMichaelisMenten(), **given),
            typical=PARTS["typical"] | {"VMAX": V, "KM": V},
        )

    plain, tight = saturable(), saturable(tolerance=1e-8)
    assert "tolerance" not in json.loads(plain.to_json())["structure"]
    assert saturable(tolerance=1e-5).hash == plain.hash
    assert tight.hash != plain.hash
    again = PopModel.from_json(tight.to_json())
    assert again == tight
    assert again.structure.tolerance == 1e-8
    assert "tolerance=1e-08" in str(tight)


def test_settings_of_a_custom_structure_are_stored_where_they_were_given():
    def own(**given):
        structure = Custom(
            "one",
            parameters=OneCompartment().parameters,
            compartments=("central",),
            outputs=OneCompartment().outputs,
            rates=lambda t, a, p: (-p.CL * a.central / p.V,),
            read=lambda t, a, p: (a.central / p.V,),
            **given,
        )
        return model(structure=structure)

    stored = json.loads(own().to_json())["structure"]
    assert {"tolerance", "undosed"}.isdisjoint(stored)
    given = own(tolerance=1e-8, undosed=("central",))
    assert given.hash != own().hash
    again = PopModel.from_json(given.to_json())
    assert again == given
    assert (again.structure.tolerance, again.structure.undosed) == (1e-8, ("central",))


def test_hashes_of_models_that_were_fitted_stay():
    """Stored fits and advice name their model by it."""
    assert natalizumab.model.hash.startswith("abbf43424bfa9456")
    assert nimotuzumab.model.hash.startswith("f57d6657e1954069")


def test_flattened_widens_the_typical_values_and_says_so():
    plain = model()
    wide = plain.flattened(4)
    for (name, before), (same, after) in zip(plain.typical, wide.typical, strict=True):
        assert name == same
        assert after == before.flattened(4)
        assert after.median == before.median
    assert (wide.iiv, wide.covariates, wide.error) == (plain.iiv, plain.covariates, plain.error)
    assert wide.hash != plain.hash
    assert wide.notes[-1] == (
        "The variances of the typical values' priors are 4 times those stated."
    )
    assert PopModel.from_json(wide.to_json()) == wide
    with pytest.raises(SettingError, match="give one or more"):
        plain.flattened(0.5)


def test_every_prior_survives_json():
    priors = (
        Uniform(0.05, 1.0),
        HalfCauchy(0.5),
        HalfStudentT(4.0, 0.5),
        LogitNormal(0.5, sd=1.0),
        Beta(0.5, n=4.0),
    )
    for prior in priors:
        made = model(typical={"CL": prior, "V": V})
        assert PopModel.from_json(made.to_json()) == made
    for prior in (StudentT(3.0, 0.75, 0.2), Correlation(2.0), Uniform(-1.0, 1.0)):
        made = model(covariates=(Power("CL", "WT", reference=70.0, exponent=prior),))
        assert PopModel.from_json(made.to_json()) == made
        with pytest.raises(ModelError, match="which allows values of zero or below"):
            model(typical={"CL": prior, "V": V})


def changed(*path):
    """A change of a model's JSON: the last of the path in the place that the others lead to."""
    *path, place, value = path

    def change(text):
        content = inner = json.loads(text)
        for name in path:
            inner = inner[name]
        inner[place] = value
        return json.dumps(content)

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text[:-1], "the text is no JSON"),
        (lambda text: "[1, 2]", "the JSON holds list; expected an object"),
        (lambda text: text.replace('"iiv": {', '"iov_": {}, "iiv": {'), "field iov_; known are"),
        (lambda text: text.replace('"error": {', '"eror": {'), "has no field error"),
        (lambda text: text.replace('"sd": ', '"sdx": '), "HalfNormal has no sdx; it takes sd"),
        (changed("typical", "CL", {"type": "LogNormal", "median": 1}), "LogNormal needs cv, which"),
        (changed("typical", "CL", {"median": 1}), 'has {"median": 1}, a part without its type'),
        (changed("typical", [1]), r"has \[1\] as typical; expected an object, parts by name"),
        (changed("iov", 5), "has 5 as iov; expected an object"),
        (changed("iiv_shared", [1]), r"has \[1\] as iiv_shared; expected an object"),
        (changed("covariates", {}), "has {} as covariates; expected a list"),
        (changed("notes", "a"), 'has "a" as notes; expected a list'),
        (changed("covariates", 0, "type", "Folds"), "Folds has no exponent"),
        (
            changed("levels", [{"type": "Level", "covariate": "WT", "omegas": 3}]),
            r'Level cannot be made of {"covariate": "WT", "omegas": 3}, which the JSON has',
        ),
    ],
)
def test_nothing_in_a_json_is_ignored(change, sentence):
    text = natalizumab.model.to_json()
    assert change(text) != text
    with pytest.raises(ModelError, match=sentence):
        PopModel.from_json(change(text))


def test_no_two_parts_share_a_name():
    """A stored model names its parts: the elimination Linear, and so the effect LinearEffect."""
    assert not set(structures.__all__) & set(statistics.__all__)
