"""What every ready-made drug model must keep."""

from __future__ import annotations

import importlib
import math
import pkgutil
import re

import numpy as np
import pytest

from popk import models
from popk.model import Card, PopModel
from popk.statistics import NUMPY, Fixed, expected_parameters, individual_parameters

NAMES = [module.name for module in pkgutil.iter_modules(models.__path__)]
UNCHANGED = {
    "natalizumab": "abbf43424bfa94560d15063fcb0356440dcd9ab2d08e790248ae3e8b8b8344e7",
    "nimotuzumab": "f57d6657e1954069680f1c6383eadc4ec89b63a652da00cd6f5c80779a01e54b",
}


@pytest.fixture(params=NAMES)
def model(request):
    return importlib.import_module(f"popk.models.{request.param}").model


def named_in(texts, name):
    return any(re.search(rf"\b{re.escape(name)}\b", text) for text in texts)


def test_there_are_models():
    assert {"natalizumab", "nimotuzumab"} <= set(NAMES)
    assert len(NAMES) >= 15


@pytest.mark.parametrize("name", NAMES)
def test_a_model_says_what_it_is_and_where_it_is_from(name):
    module = importlib.import_module(f"popk.models.{name}")
    assert isinstance(module.model, PopModel)
    assert module.model.name == name
    card = module.model.card
    source = f"{module.__doc__} {' '.join(module.model.notes)} {card.citation} {card.doi}"
    assert re.search(r"\b(19|20)\d\d\b", source), "the year of a publication"
    authors = r"10\.\d{4,}/|et al\.|[A-Z][a-z]+ [A-Z]{1,2}\b"
    assert re.search(authors, source), "its doi or its authors"
    text = " ".join((*module.model.notes, *card.assumptions, card.population, card.seen))
    assert len(card.population.split()) >= 3, "whom it is for"
    assert len(text.split()) > 20
    assert module.__doc__
    assert PopModel.from_json(module.model.to_json()) == module.model
    assert all(parameter.unit for parameter in module.model.parameters)


@pytest.mark.parametrize("name", UNCHANGED)
def test_the_hash_of_a_model_in_use_stays(name):
    assert importlib.import_module(f"popk.models.{name}").model.hash == UNCHANGED[name]


def test_the_card_gives_the_citation_and_what_was_assumed(model):
    card = model.card
    assert isinstance(card, Card)
    assert re.search(r"\b(19|20)\d\d\b", card.citation)
    assert re.fullmatch(r"(10\.\d{4,}/\S+)?", card.doi)
    assert card.population
    assert card.route
    assert card.seen
    assert card.assumptions
    assert card.doses


def test_every_number_has_a_source_or_is_named_among_the_assumptions(model):
    sources = dict(model.card.sources)
    for parameter in model.parameters:
        assert parameter.name in sources or named_in(model.card.assumptions, parameter.name)


def test_every_covariate_has_a_domain_or_its_lack_is_said(model):
    domain = {name for name, _, _ in model.card.domain}
    covariates = dict.fromkeys(name for effect in model.covariates for name in effect.covariates)
    for name in covariates:
        assert name in domain or named_in(model.card.assumptions, name)


def test_the_model_can_be_used_throughout_its_domain(model):
    for name, low, high in model.card.domain:
        for effect in model.covariates:
            if name in effect.covariates:
                assert effect.fault(name, low) is None
                assert effect.fault(name, high) is None


def test_parameters_are_possible_at_the_ends_of_the_domain(model):
    """One covariate at a time, the others at their reference (0 where there is none)."""
    population = {p.name: p.prior.median for p in model.parameters}
    middle = {}
    for effect in model.covariates:
        for name in effect.covariates:
            middle.setdefault(name, getattr(effect, "reference", None) or 0.0)
    ends = {name: (low, high) for name, low, high in model.card.domain}
    for name, low, _ in model.card.domain:
        middle[name] = middle[name] or low
    for name, values in ends.items():
        given = {**middle, name: np.array(values)}
        expected = expected_parameters(
            model.scale_of, model.covariates, population=population, covariates=given, ops=NUMPY
        )
        for column in individual_parameters(model.scale_of, expected, {}, NUMPY):
            assert np.all(np.isfinite(column))
            assert np.all(column > 0)


def test_the_units_are_consistent(model):
    units = model.units
    used = {name for effect in model.covariates for name in effect.covariates}
    assert used == set(dict(units.covariates))
    assert units.volume == "L"
    assert units.concentration == "mg/L"
    # A time unit in which the half-life is neither a fraction nor thousands.
    (clearance,) = (p.prior.median for p in model.parameters if p.name == "CL")
    volume = next(p.prior.median for p in model.parameters if p.name in ("V1", "V"))
    assert 0.5 < math.log(2) * volume / clearance < 1000


def printed(text):
    """Numbers in a source, products and quotients of neighbours, and their sums."""
    text = text.replace(" (K12)", "").replace(" (V1)", "")
    pattern = r"(?<![\w.])-?\d+(?:\.\d+)?"
    found = [float(number) for number in re.findall(pattern, text)]
    terms = re.match(r".*?((?:-?[\d.]+ [*/+-] )+[\d.]+)", text)
    if terms:
        left, *rest = re.split(r" ([*/+-]) ", terms[1])
        total = float(left)
        for sign, right in zip(rest[::2], map(float, rest[1::2]), strict=True):
            total = {"*": total * right, "/": total / right, "+": total + right}.get(
                sign, total - right
            )
        found.append(total)
    return found


def forms_of(number, name):
    """What a printed number may stand for, given what the parameter is."""
    size = abs(number)
    if name.startswith("omega"):
        return (
            size, size / 100, math.sqrt(size), math.sqrt(math.log1p(size**2)),
            math.sqrt(math.log1p((size / 100) ** 2)),
        )  # fmt: skip
    if name.startswith("sigma"):
        return size, size / 100, math.sqrt(size)
    return (number,)


def test_the_priors_are_centred_on_the_numbers_as_printed(model):
    """Except half-normal priors, which leave a parameter to the data."""
    sources = dict(model.card.sources)
    for parameter in model.parameters:
        name, prior = parameter.name, parameter.prior
        derived = name.startswith(("corr", "pcorr"))
        if name not in sources or derived or type(prior).__name__ == "HalfNormal":
            continue
        centre = prior.value if isinstance(prior, Fixed) else prior.median
        forms = [f for number in printed(sources[name]) for f in forms_of(number, name)]
        assert any(math.isclose(form, centre, rel_tol=3e-3) for form in forms), (name, centre)


def test_published_correlations_are_those_of_the_random_effects(model):
    """Correlations that are printed as such; others follow from printed covariances."""
    printed_ones = {}
    for name, text in model.card.sources:
        if re.match(r"p?corr_", name) and not text.startswith(("cov", "from")):
            printed_ones[name] = float(re.search(r"-?\d+(?:\.\d+)?", text)[0])
    given = {}
    for block in model.iiv.correlations:
        if block.fixed:
            for (later, earlier), value in zip(block.pairs, block.fixed, strict=True):
                given[f"{earlier}_{later}"] = value
    for name, value in printed_ones.items():
        assert given[name.partition("_")[2]] == value
