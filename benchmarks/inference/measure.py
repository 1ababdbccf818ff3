"""One fit by one tool in a process of its own, and what is known of it afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import xarray as xr
from peers.environments import UnavailableError, python_of

from popk.diagnostics import convergence_table

BENCHMARKS = Path(__file__).parent.parent
COMPILING = 300  # s, at most, that Stan is given beyond its limit, which holds for its chains
SCRIPTS = {
    "popk": BENCHMARKS / "inference" / "popk_fit.py",
    "pymc": BENCHMARKS / "inference" / "pymc_fit.py",
    "stan": BENCHMARKS / "peers" / "stan" / "sampler.py",
}


def run(program, order, folder, *, environment=None):
    """Let a tool fit; returns its figures as a dictionary that JSON can hold.

    ``order`` is what the tool's script reads; its ``limit`` (s) ends the process, and with it all
    that it started. ``environment`` holds variables to set for it.
    """
    folder = Path(folder)
    files = {"report": str(folder / "report.json"), "draws_file": str(folder / "draws.npz")}
    for file in files.values():
        Path(file).unlink(missing_ok=True)
    (folder / "order.json").write_text(json.dumps({**order, **files}))
    try:
        python = python_of(program)
    except UnavailableError as error:
        return {"phases": [], "why_not": str(error)}
    began = time.perf_counter()
    with (folder / "log").open("w+") as log:
        ended = _ended(
            [python, str(SCRIPTS[program]), str(folder / "order.json")],
            order["limit"] + (COMPILING if program == "stan" else 0), log, environment or {},
        )  # fmt: skip
        log.seek(0)
        last = (log.read().strip().splitlines() or ["no reason was given"])[-1]
    found = {"phases": []}
    if Path(files["report"]).exists():
        found = json.loads(Path(files["report"]).read_text())
    found["wall"] = time.perf_counter() - began
    if ended is None:
        found["why_not"] = f"not finished after {found['wall']:.0f} s, while {found.get('running')}"
    elif ended:
        found["why_not"] = f"it failed: {last[:200]}"
    if ended in {0, None} and Path(files["draws_file"]).exists():
        found |= of_draws(files["draws_file"])
    return found


def _ended(command, limit, log, environment):
    """The exit code; None when the time was up."""
    path = os.pathsep.join([str(BENCHMARKS), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        command, stdout=log, stderr=log, start_new_session=True,
        env={**os.environ, "PYTHONPATH": path.rstrip(os.pathsep), **environment},
    )  # fmt: skip
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def of_draws(file):
    """Chains and draws, R-hat, ESS, means and SDs of the population parameters."""
    with np.load(file) as stored:
        draws = {name: stored[name] for name in stored.files}
    sampled = xr.Dataset({name: (("chain", "draw"), values) for name, values in draws.items()})
    table = convergence_table(sampled).to_dataframe()
    worst = {"ess": 0.0, "ess_of": "", "rhat": float("nan"), "rhat_of": ""}
    if len(table) == len(draws) and np.isfinite(table[["ess_bulk", "rhat"]]).all(axis=None):
        worst = {
            "ess": float(table["ess_bulk"].min()), "ess_of": table["ess_bulk"].idxmin(),
            "rhat": float(table["rhat"].max()), "rhat_of": table["rhat"].idxmax(),
        }  # fmt: skip
    else:
        print("a parameter never moved, or is not a number: the ESS is 0", file=sys.stderr)
    return {
        "chains": sampled.sizes["chain"],
        "draws": sampled.sizes["draw"],
        **worst,
        "means": {name: float(values.mean()) for name, values in draws.items()},
        "sds": {name: float(values.std()) for name, values in draws.items()},
    }
