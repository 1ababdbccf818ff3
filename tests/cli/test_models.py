import pytest

from popk.cli.models import find_model
from popk.cli.options import CommandError
from popk.model import PopModel


@pytest.mark.parametrize("name", ["natalizumab", "nimotuzumab"])
def test_models_that_come_with_popk_are_found_by_name(name):
    model = find_model(name)
    assert isinstance(model, PopModel)
    assert model.name == name


@pytest.mark.parametrize("name", ["aspirin", "__init__", "natalizumab.model", "../natalizumab"])
def test_an_unknown_name_lists_the_models_there_are(name):
    with pytest.raises(CommandError, match="popk comes with natalizumab, nimotuzumab"):
        find_model(name)
