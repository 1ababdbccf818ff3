"""What every ready-made drug model must keep."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest

from popk import models
from popk.model import PopModel

NAMES = [module.name for module in pkgutil.iter_modules(models.__path__)]


def test_there_are_models():
    assert {"natalizumab", "nimotuzumab"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_says_what_it_is_and_where_it_is_from(name):
    module = importlib.import_module(f"popk.models.{name}")
    assert isinstance(module.model, PopModel)
    assert module.model.name == name
    source = f"{module.__doc__} {' '.join(module.model.notes)}"
    assert re.search(r"\b(19|20)\d\d\b", source), "the year of a publication"
    assert re.search(r"doi 10\.\d{4,}/|et al\.", source), "its doi or its authors"
    text = " ".join(module.model.notes)
    assert re.search(r"[Pp]opulation|[Pp]atients|[Aa]dults", text), "whom it is for"
    assert len(text.split()) > 20
    assert module.__doc__
    assert PopModel.from_json(module.model.to_json()) == module.model
    assert all(parameter.unit for parameter in module.model.parameters)
