"""Makes the module ``simulated`` beside this file known to the tests as ``popk_simulated``."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

_spec = spec_from_file_location("popk_simulated", Path(__file__).with_name("simulated.py"))
_module = module_from_spec(_spec)
# Test modules import it by name; pytest's importlib mode finds no neighbours by itself.
sys.modules[_spec.name] = _module
_spec.loader.exec_module(_module)


@pytest.fixture(scope="session")
def criticised():
    """The module criticised.py beside this file: cohorts of which a model is right or wrong."""
    spec = spec_from_file_location("popk_criticised", Path(__file__).with_name("criticised.py"))
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
