"""Stan's own NUTS on a hand-written hierarchical model: ``sampler.py ORDER``, a file of JSON.

Every chain is a process that keeps its draws in a memory-mapped file, so that what it has done when
its time is up is known. The settings are Stan's defaults, save those in the order.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpstan
import numpy as np
from inference.phases import Report, peak_memory
from peer import Model, doubles, library

HERE = Path(__file__).parent
BRIDGES = ("bridge.cpp", "sampler.cpp")
# Iterations done, divergences, CPU seconds at warm-up's end and at the last draw, memory (bytes).
FIGURES = 5


class Chain(Model):
    """A model that can be sampled."""

    def sample(self, order, number, rows, progress):
        """One chain: its draws into ``rows`` (draws, parameters)."""
        self._call(
            self.library.sample, ctypes.c_uint(order["seed"]), ctypes.c_uint(number + 1),
            order["warmup"], order["draws"], ctypes.c_double(order["accept"]), doubles(rows),
            ctypes.c_size_t(rows.shape[1]), doubles(progress),
        )  # fmt: skip


def arrays(order, folder, mode):
    """Draws (chains, draws, parameters) and progress (chains, FIGURES), shared by processes."""
    width = len(order["parameters"])
    shape = (order["chains"], order["draws"], width)
    rows = np.memmap(Path(folder) / "draws", np.float64, mode, shape=shape)
    return rows, np.memmap(
        Path(folder) / "progress", np.float64, mode, shape=(order["chains"], FIGURES)
    )


def chain(order, folder, number):
    data = json.loads(Path(order["data"]).read_text())
    model = Chain(order["program"], {**data, "centred": order["centred"]}, BRIDGES)
    rows, progress = arrays(order, folder, "r+")
    progress[number, 4] = peak_memory()
    model.sample(order, number, rows[number], progress[number])
    progress[number, 4] = peak_memory()


def check_density(order):
    """Refuse a program whose density is not popk's, up to a constant."""
    data = json.loads(Path(order["data"]).read_text())
    model = Chain(order["program"], {**data, "centred": 0}, BRIDGES)
    found = [model.density(np.array(point), 1)[0] for point in order["points"]]
    apart = np.ptp(np.array(found) - np.array(order["densities"]))
    if not apart < order["agreement"]:
        sys.exit(f"the density of {order['program']} is not popk's: {apart:.3g} apart")
    return apart


def run_chains(order, folder):
    """All chains at once; those still running when their time is up are ended."""
    rows, progress = arrays(order, folder, "w+")
    command = [sys.executable, __file__, sys.argv[1], str(folder)]
    running = [subprocess.Popen([*command, str(k)]) for k in range(order["chains"])]
    deadline = time.monotonic() + order["limit"]
    codes = []
    for process in running:
        try:
            codes.append(process.wait(max(0.0, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if any(codes):
        raise RuntimeError("a chain failed")
    return np.array(rows), np.array(progress)


def told(order, progress):
    """How far the chains have come, in words; empty when they were not cut short."""
    done = progress[:, 0].astype(int)
    if done.min() >= order["warmup"] + order["draws"]:
        return ""
    if done.min() <= order["warmup"]:
        return (
            f"in warm-up after {order['limit']:g} s: {done.min()} to {done.max()} of "
            f"{order['warmup']} iterations"
        )
    least = done.min() - order["warmup"]
    return f"ended after {order['limit']:g} s with {least} of {order['draws']} draws a chain"


def main(path):
    order = json.loads(Path(path).read_text())
    report = Report(order["report"], "compiling")
    report.tell(versions={"httpstan": httpstan.__version__})
    library(order["program"], BRIDGES)
    report.phase_is("comparing densities")
    report.tell(density_apart=float(check_density(order)))
    report.phase_is("sampling")
    with tempfile.TemporaryDirectory() as folder:
        rows, progress = run_chains(order, folder)
    report.end()
    kept = int(progress[:, 0].min()) - order["warmup"]
    report.tell(
        cut=told(order, progress),
        divergences=int(progress[:, 1].sum()),
        peak=float(progress[:, 4].sum()),
        iterations=int(progress[:, 0].sum()),
    )
    if kept > 0:
        names = [name.removeprefix("log ") for name in order["parameters"]]
        values = [
            np.exp(rows[:, :kept, k]) if name.startswith("log ") else rows[:, :kept, k]
            for k, name in enumerate(order["parameters"])
        ]
        np.savez(order["draws_file"], **dict(zip(names, values, strict=True)))
        report.tell(cpu_of_draws=float((progress[:, 3] - progress[:, 2]).sum()))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        chain(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], int(sys.argv[3]))
