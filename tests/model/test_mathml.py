"""Equations as MathML."""

import xml.etree.ElementTree as ET
from importlib import import_module

import pytest

from popk.model.equations import model_sections
from popk.model.formula import Formula, Section, population
from popk.model.mathml import mathml, section_mathml
from popk.model.notation import Choice, Number, Power, Symbol, add, call, divide, multiply, negative

CL, V = Symbol("CL", "parameter"), Symbol("V1", "parameter")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (divide(CL, V), "CL/V_1"),
        (multiply(CL, add(V, Number(1.0))), "CL·(V_1+1)"),
        (negative(divide(Number(2.0), V)), "−2/V_1"),
        (Power(divide(CL, V), population("beta_CL_WT")), "(CL/V_1)^β_CL,WT"),
        (call("exp", population("eta_CL")), "exp(η_CL)"),
        (call("sqrt", CL), "√CL"),
        (Number(1e-9), "10^−9"),
        (Symbol("CL", "subject"), "CL_i"),
        (Symbol("A_<x>", "amount"), "A_<x>"),
    ],
)
def test_expressions_keep_their_meaning(given, words):
    assert linear(ET.fromstring(mathml(given))) == words


def linear(element):
    """What a reader would read."""
    inner = [linear(child) for child in element]
    match element.tag:
        case "mfrac":
            return "/".join(inner)
        case "msub":
            return "_".join(inner)
        case "msup":
            return "^".join(inner)
        case "msqrt":
            return "√" + "".join(inner)
    return (element.text or "").strip().replace("\u2061", "") + "".join(inner)


def test_a_choice_has_two_cases():
    words = mathml(Choice(CL, 0.0, V, Number(3.0)))
    assert len(ET.fromstring(words).findall(".//mtr")) == 2
    assert "otherwise" in words


def test_words_of_a_user_are_escaped():
    formula = Formula(Symbol("<b>"), CL, where='doses "into" <x> & y')
    text = section_mathml(Section("t", (formula,)))
    root = ET.fromstring(text)
    assert root.attrib["alttext"].startswith("<b> = CL")
    assert "<b>" not in text


@pytest.mark.parametrize("name", ["natalizumab", "nimotuzumab"])
def test_models_that_come_with_popk_can_be_written(name):
    for section in model_sections(import_module(f"popk.models.{name}").model):
        root = ET.fromstring(section_mathml(section))
        assert len(root.findall("mtable/mtr")) == len(section.formulas)
        assert "\\" not in "".join(root.itertext())
