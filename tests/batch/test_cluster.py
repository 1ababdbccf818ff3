"""The same on a Dask cluster, one process of which is killed on the way."""

import logging
import os
import signal

import pandas as pd
import pytest

import popk
from popk.batch import WorkerError
from popk.errors import SettingError

distributed = pytest.importorskip("distributed", reason="Dask is not installed")


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
        silence_logs=logging.CRITICAL,
    ) as made:  # fmt: skip
        yield made


def test_a_worker_that_is_killed_costs_nothing(fit, table, options, cluster, tmp_path):
    local = popk.individualise_table(fit, table, tmp_path / "local", **options)
    with distributed.Client(cluster, set_as_default=False) as client:
        before = client.run(os.getpid)
    killed = []

    def kill_one(done, total):
        if done and not killed:
            killed.append(next(iter(before.values())))
            os.kill(killed[0], signal.SIGKILL)

    given = options | {"cores": None, "scheduler": cluster.scheduler_address, "chunk": 1}
    found = popk.individualise_table(fit, table, tmp_path / "far", progress=kill_one, **given)
    assert killed
    assert found.failed == 0
    pd.testing.assert_frame_equal(found.advice(), local.advice(), check_exact=True)
    with distributed.Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=30)
        after = client.run(os.getpid)
        plugins = client.run(lambda dask_worker: list(dask_worker.plugins))
    assert killed[0] not in after.values()
    assert not any(name.startswith("popk") for names in plugins.values() for name in names)


def test_a_scheduler_that_is_not_there(fit, table, options, tmp_path, monkeypatch):
    import popk.batch.cluster as there

    monkeypatch.setattr(there, "_TIMEOUT", 0.5)
    given = options | {"cores": None, "scheduler": "tcp://127.0.0.1:9"}
    with pytest.raises(WorkerError, match="could not be reached"):
        popk.individualise_table(fit, table, tmp_path / "out", **given)
    with pytest.raises(SettingError, match="Give its address"):
        popk.individualise_table(fit, table, tmp_path / "b", **given | {"scheduler": "no:way:x"})
