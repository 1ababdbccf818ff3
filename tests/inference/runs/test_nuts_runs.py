"""Joint sampling that is interrupted: what was drawn is kept, and the chains go on."""

import json

import numpy as np
import pytest
from arviz_stats import mcse

from popk.inference import NUTS, Marginal, Run, resume, sample
from popk.inference.chains import Chain
from popk.inference.runs.store import FolderStore


class StopError(Exception):
    """Stands for whatever ends a run."""


@pytest.fixture(scope="module")
def data(fits):
    records = [
        record
        for k, troughs in enumerate([(20.0, 22.0), (14.0, 19.0), (27.0, 25.0), (9.0, 13.0)])
        for record in fits.history(f"S{k}", troughs)
    ]
    return fits.dataset(*records)


def interrupted(model, data, method, folder, *, after):
    def listen(report):
        if report.stage == "sampling" and report.done >= after:
            raise StopError

    with pytest.raises(StopError):
        sample(model, data, method, seed=3, run=Run(folder, seconds=0), progress=listen)
    store = FolderStore(folder / "draws", seconds=1.0, say=print, note=print)
    return [Chain.stored(number, store) for number in range(method.chains)]


@pytest.mark.slow
def test_what_was_drawn_is_kept_and_the_chains_go_on(fits, data, tmp_path):
    method = NUTS(draws=600, tune=60, chains=2, cores=2, pilot=30)
    chains = interrupted(fits.one_compartment(cv=0.3), data, method, tmp_path, after=300)
    sizes = [chain.size for chain in chains]
    assert 0 < sum(sizes) < 1200
    stages = []
    fit = resume(tmp_path, progress=lambda report: stages.append(report.stage))
    assert "pilot run" not in stages
    assert json.loads(fit.attrs["resumed"]) == [{"draws of each chain": sizes}]
    posterior = fit["posterior"].to_dataset()
    assert posterior.sizes["draw"] == 600
    for chain in chains:
        for name in ("CL", "eta"):
            before = np.concatenate([part[name] for part in chain.draws])
            np.testing.assert_array_equal(
                posterior[name].values[chain.number, : chain.size], before
            )
    assert not np.isnan(posterior["parameters"]).any()
    assert fit["sample_stats"]["diverging"].shape == (2, 600)


@pytest.mark.slow
def test_the_posterior_is_the_same(fits, data, tmp_path):
    """Interrupted halfway, against the other method."""
    model = fits.one_compartment(cv=0.3)
    method = NUTS(draws=3000, tune=500, chains=4, cores=2, pilot=100)
    interrupted(model, data, method, tmp_path, after=8000)
    fit = resume(tmp_path, progress=False)["posterior"].to_dataset()
    other = sample(model, data, Marginal(draws=3000), seed=8, progress=False)["posterior"]
    for name in ("CL", "V", "omega_CL", "omega_V", "sigma_prop"):
        apart = float(fit[name].mean()) - float(other[name].mean())
        error = np.hypot(float(mcse(fit[name])), float(mcse(other[name])))
        assert abs(apart) < 4 * error, name
        assert float(fit[name].std()) == pytest.approx(float(other[name].std()), rel=0.1), name
