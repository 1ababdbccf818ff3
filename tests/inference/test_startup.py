"""What a fit in a new process has to do before it samples: counted, not timed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from popk.inference import NUTS, Marginal, sample

# A fit of other data than in this process; what Numba compiles in it, and what has been imported.
OTHER_PROCESS = """
import json, sys
from importlib.util import module_from_spec, spec_from_file_location
from numba.core import event

spec = spec_from_file_location("popk_fits", {path!r})
fits = module_from_spec(spec)
spec.loader.exec_module(fits)
from popk.inference import NUTS, Marginal, sample
names = [f"S{{k}}" for k in range({subjects})]
rows = (r for k, name in enumerate(names) for r in fits.history(name, (13.0 + k, 17.0 - k)))
with event.install_recorder("numba:compile") as recorder:
    sample(fits.one_compartment(cv=0.3), fits.dataset(*rows), {method!r}, seed=2, progress=False)
compiled = [one.data["dispatcher"].py_func for _, one in recorder.buffer if one.is_start]
print(json.dumps({{
    "compiled": [f"{{one.__module__}}.{{one.__name__}}" for one in compiled],
    "imported": [name for name in sys.modules if "." not in name],
}}))
"""


def after(fits, method, subjects):
    """The report of another process that fits so many subjects, after this one fitted four."""
    rows = (r for k in range(4) for r in fits.history(f"S{k}", (14.0 + k, 16.0 + k)))
    sample(fits.one_compartment(cv=0.3), fits.dataset(*rows), method, seed=1, progress=False)
    path = str(Path(__file__).parents[1] / "fits.py")
    code = OTHER_PROCESS.format(path=path, subjects=subjects, method=method)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_marginal_compiles_nothing_for_other_data_in_another_process(fits):
    found = after(fits, Marginal(draws=10, chains=2, round_size=100), subjects=6)
    assert found["compiled"] == []
    # Each of these would take longer to import than all that a small fit needs.
    unneeded = {"pymc", "pytensor", "nutpie", "arviz", "arviz_stats", "jax", "matplotlib"}
    assert unneeded.isdisjoint(found["imported"])
    assert "popk" in found["imported"]


@pytest.mark.slow
def test_nuts_compiles_nothing_for_other_data_in_another_process(fits):
    found = after(fits, NUTS(draws=10, tune=50, chains=2, pilot=0), subjects=6)
    # Numba makes a helper of PyTensor's anew where it reads code that refers to it.
    assert {name.rpartition(".")[2] for name in found["compiled"]} <= {"get_ptr_func"}
    # Without the graph nobody needs PyMC; nutpie's library works without what the package imports.
    assert {"pymc", "nutpie", "arviz", "jax", "matplotlib"}.isdisjoint(found["imported"])
