import pytest

from popk.catalogue import CatalogueError, find_model
from popk.cli import main
from popk.model import PopModel


@pytest.mark.parametrize("name", ["natalizumab", "infliximab_fasanmade2009"])
def test_models_that_come_with_popk_are_found_by_name(name):
    model = find_model(name)
    assert isinstance(model, PopModel)
    assert model.name == name


@pytest.mark.parametrize("name", ["aspirin", "__init__", "natalizumab.model", "../natalizumab"])
def test_an_unknown_name_lists_the_models_there_are(name):
    with pytest.raises(CatalogueError, match=r"popk comes with adalimumab, .*natalizumab, nimotuz"):
        find_model(name)


CARDED = """
from popk.model import Card, PopModel
from popk.statistics import HalfNormal, LogNormal, Proportional
from popk.structure import OneCompartment

model = PopModel(
    OneCompartment(),
    typical={"CL": LogNormal(0.2, cv=0.3), "V": LogNormal(5, cv=0.3)},
    error=Proportional(HalfNormal(0.4)),
    units={"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"},
    name="drug_author2001",
    card=Card(
        citation="Author et al. [A journal] 2001",
        population="12 adults",
        route="intravenous",
        seen="the paper",
        doi="10.1000/1",
        domain=(("WT", 40.0, 120.0),),
        doses=("5 mg/kg",),
        intervals=(4.0, 8.0),
        targets=(("trough", 5.0, "a guideline"),),
        assumptions=("no correlation",),
        sources=(("CL", "0.2 L/d (RSE 5 %), Table 2"),),
    ),
)
"""


def shown(capsys, *words):
    assert main(["models", *map(str, words)]) == 0
    found = capsys.readouterr()
    assert not found.err
    return found.out


def test_models_are_listed(capsys):
    lines = shown(capsys).splitlines()
    headers = next(line.split() for line in lines if "Citation" in line)
    assert headers == ["Model", "Drug", "Population", "Route", "Units", "Citation"]
    (line,) = (line for line in lines if line.split()[:1] == ["natalizumab"])
    assert line.split()[1] == "natalizumab"
    assert "d, mg, mg/L" in line


def test_the_card_of_a_model_is_printed(capsys):
    text = shown(capsys, "natalizumab")
    model = find_model("natalizumab")
    words = text.split()
    assert model.hash in words
    assert "d(A_peripheral)/dt = Q * (concentration - peripheral_concentration)" in text
    assert {parameter.name for parameter in model.parameters} <= set(words)
    assert all(f"  - {note}\n" in text for note in model.notes)


def test_the_card_of_a_users_model_is_printed_in_full_and_as_it_is_written(tmp_path, capsys):
    path = tmp_path / "own.py"
    path.write_text(CARDED)
    lines = [" ".join(line.split()) for line in shown(capsys, path).splitlines()]
    for line in (
        "Drug drug",
        "Citation Author et al. [A journal] 2001",
        "DOI 10.1000/1",
        "Population 12 adults",
        "Route intravenous",
        "Numbers seen in the paper",
        "Structure OneCompartment()",
        "CL_i = CL",
        "CL LogNormal(0.2, cv=0.3) L/d typical clearance 0.2 L/d (RSE 5 %), Table 2",
        "V LogNormal(5, cv=0.3) L typical volume of distribution –",
        "WT 40 120 kg",
        "- 5 mg/kg",
        "- 4, 8 weeks",
        "trough 5 mg/L a guideline",
        "- no correlation",
    ):
        assert line in lines


def test_the_card_of_an_unknown_model_is_refused(capsys):
    assert main(["models", "aspirin"]) == 2
    assert "There is no model aspirin; popk comes with" in capsys.readouterr().err
