"""Makes two modules beside this file known to the tests, by names of their own.

``popk_histories``: histories of doses and their simulator; ``popk_solving``: a structure's own
equations solved by SciPy.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

for _name in ("histories", "solving"):
    _spec = spec_from_file_location(f"popk_{_name}", Path(__file__).with_name(f"{_name}.py"))
    _module = module_from_spec(_spec)
    # Test modules import it by name; pytest's importlib mode finds no neighbours by itself.
    sys.modules[_spec.name] = _module
    _spec.loader.exec_module(_module)
