"""The card of a model: as text, as HTML and as blocks."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest
from popk.models import natalizumab

from popk.model import Card, PopModel
from popk.model.coding import written
from popk.model.description import blocks, drug_of, listing
from popk.statistics import HalfNormal, LogNormal, Normal, Power, Proportional
from popk.structure import (
    DirectEffect,
    Dosing,
    FirstOrder,
    Full,
    IndirectResponse,
    Linear,
    OneCompartment,
    ParallelFirstOrder,
    ParallelMichaelisMenten,
    Sequential,
    SigmoidEmax,
    TargetMediated,
    Transit,
    TwoCompartment,
    Wagner,
)

CARD = Card(
    citation="Author & Other <J> 2001",
    population="312 adults with a disease, " + "and a long description of them, " * 5,
    route="intravenous",
    seen="the paper",
    sources=(("CL", "0.2 L/d (RSE 5 %), Table 2"),),
    domain=(("WT", 40.0, 120.0),),
)


def model(**changes):
    given = {
        "typical": {"CL": LogNormal(0.2, cv=0.3), "V": LogNormal(5.0, cv=0.3)},
        "covariates": (Power("CL", "WT", reference=70.0, exponent=Normal(0.75, 0.2)),),
        "error": Proportional(HalfNormal(0.4)),
        "units": {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"},
        "name": "drug_author2001",
        "notes": ("<script>alert('a & b')</script>",),
    }
    return PopModel(OneCompartment(), **given | changes)


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (TwoCompartment(), "TwoCompartment()"),
        (OneCompartment(elimination=Linear(), tolerance=1e-5), "OneCompartment()"),
        (OneCompartment(tolerance=1e-6), "OneCompartment(tolerance=1e-06)"),
        # The duration D1 comes with the absorption.
        (OneCompartment(Sequential()), "OneCompartment(absorption=Sequential())"),
        (OneCompartment(Transit(5)), "OneCompartment(absorption=Transit(n=5))"),
        (
            TwoCompartment(FirstOrder(), ParallelMichaelisMenten(), Dosing(bioavailability=(1,))),
            "TwoCompartment(absorption=FirstOrder(), elimination=ParallelMichaelisMenten(), "
            "dosing=Dosing(bioavailability=(1,)))",
        ),
        # The third compartment is there because of the absorption.
        (
            OneCompartment(ParallelFirstOrder(), dosing=Dosing(lag=(3,))),
            "OneCompartment(absorption=ParallelFirstOrder(), dosing=Dosing(lag=(3,)))",
        ),
        (TargetMediated(), "TargetMediated()"),
        (TargetMediated(Full()), "TargetMediated(binding=Full())"),
        (
            TargetMediated(Wagner(), peripheral=False),
            "TargetMediated(binding=Wagner(), peripheral=False)",
        ),
        (
            DirectEffect(OneCompartment(), SigmoidEmax(baseline=True), unit="%"),
            "DirectEffect(pk=OneCompartment(), response=SigmoidEmax(baseline=True), unit='%')",
        ),
        (
            IndirectResponse(OneCompartment(), "stimulate loss"),
            "IndirectResponse(pk=OneCompartment(), kind='stimulate loss')",
        ),
    ],
)
def test_a_structure_is_written_without_its_defaults(part, text):
    assert written(part) == text
    assert eval(text) == part


@pytest.mark.parametrize(
    ("name", "drug"),
    [
        ("natalizumab", "natalizumab"),
        ("infliximab_fasanmade2009", "infliximab"),
        ("generic_antibody", "generic antibody"),
        ("generic_antibody_davda2014", "generic antibody"),
    ],
)
def test_the_drug_is_the_name_without_author_and_year(name, drug):
    assert drug_of(name) == drug


def test_the_text_says_what_the_model_is_and_where_it_is_from():
    lines = str(model(card=CARD)).splitlines()
    assert lines[0] == "drug_author2001: OneCompartment()"
    assert "  source: Author & Other <J> 2001" in lines
    assert not any("source:" in line for line in str(model()).splitlines())


class Tags(HTMLParser):
    """Every element is closed in its turn; what is in them is kept."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.cells = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] in ("td", "th"):
            self.cells.append(data)


def test_the_html_is_well_formed_escaped_and_needs_nothing_else():
    html = model(card=CARD)._repr_html_()
    tags = Tags(html)
    kinds = {tag for tag, _ in tags.seen}
    assert kinds == {
        "article", "table", "caption", "thead", "tbody", "tr", "th", "td", "section", "h4", "ul",
        "li", "pre", "code",
    }  # fmt: skip
    assert all(set(attrs) <= {"scope"} for _, attrs in tags.seen)
    assert all("scope" in attrs for tag, attrs in tags.seen if tag == "th")
    assert not re.search(r"src=|href=|https?:|<script", html)
    assert "<li>&lt;script&gt;alert(&#x27;a &amp; b&#x27;)&lt;/script&gt;</li>" in html
    assert "Author & Other <J> 2001" in unescape(html)
    for parameter in model().parameters:
        assert parameter.name in tags.cells
        assert repr(parameter.prior) in tags.cells
    assert "0.2 L/d (RSE 5 %), Table 2" in tags.cells
    assert model().hash in tags.cells


def test_every_line_of_the_equations_is_on_the_card():
    shown = {line.strip() for block in blocks(natalizumab.model) for line in block.lines}
    lines = natalizumab.model.equations().splitlines()
    formulas = [line.strip() for line in lines if line.startswith("  ")]
    assert len(formulas) > 10
    assert set(formulas) <= shown


def test_rows_are_as_long_as_their_headers():
    for each in (model(), model(card=CARD), natalizumab.model):
        for block in blocks(each):
            assert bool(block.rows) != bool(block.lines)
            assert {len(row) for row in block.rows} <= {len(block.headers) or 2}


def test_a_card_changes_neither_the_numbers_nor_what_is_known_without_it():
    assert model(card=CARD).hash == model().hash
    titles = [block.title for block in blocks(model())]
    assert "Population parameters" in titles
    assert "Covariates" not in titles


@pytest.mark.parametrize(
    ("citation", "short"),
    [
        ("Bajaj G, Wang X. A title. CPT 2017;6(1):58-66.", "Bajaj G et al. 2017"),
        ("van den Berg SPH, Toorop AA, et al. A journal 2025.", "van den Berg SPH et al. 2025"),
        ("Author 2001", "Author 2001"),
        ("Author, in preparation", "Author, in preparation"),
        (
            "A report of the year 1999. " + "Long " * 30,
            "A report of the year 1999. " + "Long " * 10 + "…",
        ),
    ],
)
def test_a_list_of_models_cites_in_short(citation, short):
    card = replace(CARD, citation=citation)
    _, (row,) = listing([model(card=card)])
    assert row[-1] == short


def test_a_list_of_models_has_a_population_in_short():
    headers, (row, plain) = listing([model(card=CARD), model()])
    found = dict(zip(headers, row, strict=True))
    assert found["Drug"] == "drug"
    assert found["Units"] == "d, mg, mg/L"
    assert found["Citation"] == "Author & Other <J> 2001"
    assert len(found["Population"]) <= 80
    assert found["Population"].endswith(" …")
    assert plain[2:4] == ("–", "–")
