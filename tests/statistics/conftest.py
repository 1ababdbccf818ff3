"""Makes the module ``popk_residuals`` beside this file known to the tests, by a name of its own."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_spec = spec_from_file_location("popk_residuals", Path(__file__).with_name("residuals.py"))
_module = module_from_spec(_spec)
# Test modules import it by name; pytest's importlib mode finds no neighbours by itself.
sys.modules[_spec.name] = _module
_spec.loader.exec_module(_module)
