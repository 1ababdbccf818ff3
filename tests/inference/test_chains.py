"""Chains taken from nutpie as they are drawn, of a density that needs no compiling."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from arviz_stats.base import array_stats

from popk.inference.chains import Chain, Job, assembled_chains, draw_chains
from popk.inference.progress import Reporter
from popk.inference.runs.interruption import Terminated, terminable
from popk.inference.runs.store import NOWHERE, FolderStore

nutpie = pytest.importorskip("nutpie")
from nutpie.compiled_pyfunc import from_pyfunc  # noqa: E402

SD = np.array([1.0, 3.0])
DRAWS, TUNE = 300, 100


class StopError(Exception):
    """Stands for whatever ends a run."""


def normal(before_draw=lambda: None):
    """Two normal coordinates, of which the values are 5 + x, and a third that is always 2."""

    def make_logp():
        def logp(x):
            time.sleep(1e-4)  # long enough to be interrupted
            return -0.5 * np.sum((x / SD) ** 2), -x / SD**2

        return logp

    def make_expand(*_):
        def expand(x):
            before_draw()
            return {
                "pair": 5 + x,
                "first": np.array(5 + x[0]),
                "fixed": np.array(2.0),
                "loose": x,
            }

        return expand

    return from_pyfunc(
        2, make_logp, make_expand, [np.dtype("float64")] * 4, [(2,), (), (), (2,)],
        ["pair", "first", "fixed", "loose"],
        coords={"which": ["a", "b"]}, dims={"pair": ("which",)},
        make_initial_point_fn=lambda seed: np.array([0.5, -0.5]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def compiled():
    return normal()


def job(compiled, chains, *, seed=1, cores=2, tune=TUNE, stored=True):
    def begin(told):
        return nutpie.sample(
            compiled, draws=DRAWS - chains[0].size, tune=tune, chains=len(chains), seed=seed,
            cores=cores, progress_bar=False, progress_callback=told, progress_rate=10,
            store_unconstrained=stored, return_raw_trace=True, blocking=False,
        )  # fmt: skip

    return Job(chains, tune, DRAWS, begin)


def drawn(compiled, *, store=NOWHERE, listen=lambda _: None, n=3, **settings):
    chains = [Chain(number) for number in range(n)]
    reporter = Reporter(listen)
    draw_chains(
        [job(compiled, chains, **settings)], cores=settings.get("cores", 2), store=store,
        names=["first", "fixed"], progress=lambda *news, **more: reporter("s", *news, **more),
    )  # fmt: skip
    return assembled_chains(chains, DRAWS, compiled.coords)


def folder_store(folder, seconds=0.0):
    return FolderStore(folder, seconds=seconds, say=print, note=print)


def test_the_draws_are_those_that_nutpie_gives_by_itself(compiled):
    own = nutpie.sample(
        compiled, draws=DRAWS, tune=TUNE, chains=3, seed=1, cores=2, progress_bar=False,
        save_warmup=False,
    )  # fmt: skip
    posterior, stats = drawn(compiled)
    for name in ("pair", "first", "fixed", "loose"):
        assert posterior[name].dims == own["posterior"][name].dims
        np.testing.assert_array_equal(posterior[name].values, own["posterior"][name].values)
    assert posterior["pair"].dims == ("chain", "draw", "which")
    assert posterior["which"].values.tolist() == ["a", "b"]
    for name in ("energy", "diverging", "n_steps"):
        np.testing.assert_array_equal(stats[name].values, own["sample_stats"][name].values)


def test_neither_cores_nor_a_store_change_them(compiled, tmp_path):
    whole, _ = drawn(compiled)
    one, _ = drawn(compiled, cores=1, store=folder_store(tmp_path))
    assert one.identical(whole)
    stored = [Chain.stored(number, folder_store(tmp_path)) for number in range(3)]
    assert assembled_chains(stored, DRAWS, compiled.coords)[0].identical(whole)
    last = whole["pair"].isel(chain=2, draw=-1).values - 5
    np.testing.assert_allclose(stored[2].position, last, rtol=1e-12)


def test_progress_tells_each_chain_and_the_ess_so_far(compiled):
    told = []
    posterior, _ = drawn(compiled, listen=told.append)
    last = told[-1]
    assert (last.done, last.total, last.divergences) == (1200, 1200, 0)
    assert [chain.done for chain in last.chains] == [400, 400, 400]
    values = posterior["first"].values
    assert last.ess == pytest.approx(array_stats.ess(values, method="bulk"))
    assert last.chains[1].ess == pytest.approx(array_stats.ess(values[1:2], method="bulk"))
    assert [report.done for report in told] == sorted(report.done for report in told)


def test_an_interrupted_chain_has_what_it_had_drawn_and_goes_on(compiled, tmp_path):
    """The second of two chains had not begun; the first goes on where it stood."""
    whole, _ = drawn(compiled, n=1)

    def stop(report):
        if report.done > 150:
            raise StopError

    with pytest.raises(StopError):
        drawn(compiled, cores=1, n=2, store=folder_store(tmp_path), listen=stop)
    chains = [Chain.stored(number, folder_store(tmp_path)) for number in range(2)]
    first = chains[0].size
    assert first > 0
    before = np.concatenate([part["pair"] for part in chains[0].draws])
    np.testing.assert_array_equal(before, whole["pair"].values[0, :first])
    jobs = [job(compiled, [chain], seed=7 + chain.number, tune=50) for chain in chains
            if chain.size < DRAWS]  # fmt: skip
    store = folder_store(tmp_path)
    draw_chains(jobs, cores=2, store=store, names=["first"], progress=lambda *_, **__: None)
    posterior, stats = assembled_chains(chains, DRAWS, compiled.coords)
    np.testing.assert_array_equal(posterior["pair"].values[0, :first], before)
    assert posterior["pair"].shape == (2, DRAWS, 2)
    assert stats["diverging"].shape == (2, DRAWS)
    sd = posterior["pair"].std(("chain", "draw")).values
    np.testing.assert_allclose(sd, SD, rtol=0.25)
    again = [Chain.stored(number, folder_store(tmp_path)) for number in range(2)]
    assert assembled_chains(again, DRAWS, compiled.coords)[0].identical(posterior)


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_while_nutpie_draws_keeps_the_draws(compiled, tmp_path, number, raised):
    """The sampler waits for the signal after a few draws, and is slow from then on."""
    whole, _ = drawn(compiled, n=1)
    drawn_so_far, sent = [], threading.Event()

    def before_draw():
        drawn_so_far.append(1)
        if len(drawn_so_far) > TUNE + 50:
            assert sent.wait(60)
            time.sleep(0.1)

    def signal_it():
        sent.set()
        os.kill(os.getpid(), number)

    def send(report):
        if report.done > TUNE and not timers:
            # It arrives while the samplers are waited for.
            timers.append(threading.Timer(0.01, signal_it))
            timers[0].start()

    timers = []
    with pytest.raises(raised), terminable():
        drawn(normal(before_draw), n=1, store=folder_store(tmp_path), listen=send)
    chain = Chain.stored(0, folder_store(tmp_path))
    assert 0 < chain.size < DRAWS
    stored = np.concatenate([part["pair"] for part in chain.draws])
    np.testing.assert_array_equal(stored, whole["pair"].values[0, : chain.size])
