"""Makes the histories and the simulator beside this file known as ``popk_histories``."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_SPEC = spec_from_file_location("popk_histories", Path(__file__).with_name("histories.py"))
_MODULE = module_from_spec(_SPEC)
# Test modules import it by name; pytest's importlib mode finds no neighbours by itself.
sys.modules[_SPEC.name] = _MODULE
_SPEC.loader.exec_module(_MODULE)
