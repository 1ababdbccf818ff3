"""Posteriors on sparse troughs hold the truth as often as they say: half an hour on one processor.

`benchmarks/check_calibration.py` does the same with figures, and can be interrupted.
"""

from importlib.util import module_from_spec, spec_from_file_location
from os import cpu_count
from pathlib import Path

import pytest

from popk.calibration import calibration_frame, sbc

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "calibration" / "sparse_troughs.py"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sparse():
    spec = spec_from_file_location("sparse_troughs", FILE)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_200_replicates_on_sparse_troughs_are_inside_their_bands(sparse, tmp_path):
    found = sbc(
        sparse.model, sparse.design(), replicates=200, seed=1, interval=35.0, target=17.0,
        processes=max(2, cpu_count() or 1), folder=tmp_path / "sbc",
    )  # fmt: skip
    table = calibration_frame(found)
    assert found.attrs["n_failed"] == 0, found.attrs["notes"]
    assert found.attrs["n_not_converged"] <= 20, found.attrs["notes"]
    # One of eleven quantities may be outside its own band by chance; none among all of them.
    assert (table["p_adjusted"] >= 0.05).all(), "\n".join(table["words"])
    assert table["inside"].sum() >= len(table) - 1, "\n".join(table["words"])
