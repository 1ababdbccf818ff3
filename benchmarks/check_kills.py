"""Kill a fit with SIGKILL at random moments, resume it, and compare it with one left in peace.

``python benchmarks/check_kills.py`` kills 20 fits by `Marginal` of a cohort the size of
theophylline's (12 subjects, 11 samples each, oral); ``--method nuts`` samples jointly. A
posterior by `Marginal` has to be the same to the bit; by NUTS, what was drawn before the kill has
to be there.
"""

from __future__ import annotations

import argparse
import hashlib
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from popk import (
    IIV,
    NUTS,
    Additive,
    HalfNormal,
    LogNormal,
    Marginal,
    PopModel,
    Run,
    read_dataset,
    resume,
    sample,
)
from popk.inference.chains import Chain
from popk.inference.runs.store import FolderStore
from popk.structure import FirstOrder, OneCompartment

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L"}
TIMES = (0.25, 0.5, 1.0, 2.0, 3.5, 5.0, 7.0, 9.0, 12.0, 18.0, 24.0)
MODEL = PopModel(
    OneCompartment(FirstOrder()),
    typical={"CL": LogNormal(3, cv=2), "V": LogNormal(30, cv=2), "KA": LogNormal(1, cv=2)},
    iiv=IIV(dict.fromkeys(("CL", "V", "KA"), HalfNormal(1.0))),
    error=Additive(HalfNormal(3.0)),
    units=UNITS,
)
METHODS = {
    "marginal": Marginal(draws=1_500),
    "nuts": NUTS(draws=4_000, chains=2, tune=300, pilot=100),
}
SEED = 1


say = partial(print, flush=True)


def cohort():
    rng = np.random.default_rng(20261123)
    rows = []
    for subject in range(12):
        cl, v, ka = np.array([2.8, 31.0, 1.6]) * np.exp(rng.normal(0, [0.25, 0.15, 0.6]))
        rows.append((subject, 0.0, 1, 320.0, np.nan))
        for t in TIMES:
            k = cl / v
            true = 320 / v * ka / (ka - k) * (np.exp(-k * t) - np.exp(-ka * t))
            rows.append((subject, t, 0, np.nan, max(true + rng.normal(0, 0.7), 0.05)))
    return read_dataset(
        pd.DataFrame(rows, columns=["ID", "TIME", "EVID", "AMT", "DV"]), units=UNITS
    )


def digest(fit: xr.DataTree) -> str:
    values = fit["posterior"].to_dataset()
    parts = [np.ascontiguousarray(values[name].values).tobytes() for name in sorted(values)]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def started(folder: Path, method: str) -> subprocess.Popen[bytes]:
    """A process that fits, from when its folder is complete."""
    words = [sys.executable, __file__, "--worker", str(folder), "--method", method]
    process = subprocess.Popen(words)
    while not (folder / "run.json").exists():
        if process.poll() is not None:
            raise SystemExit(f"The fit ended by itself with code {process.returncode}.")
        time.sleep(0.005)
    return process


def where(folder: Path) -> str:
    """How far a killed run had come."""
    if (folder / "fit.nc").exists():
        return "after the fit"
    draws = folder / "draws"
    if any(draws.glob("proposals-*.chunk")) or any(draws.glob("chain-*.chunk")):
        return "after the first draws"
    if any(draws.glob("*.chunk")):
        return "after adaptation"
    return "before the end of adaptation"


def is_kept(folder: Path, fit: xr.DataTree) -> bool:
    """Whether all draws that were on disk are in the fit."""
    store = FolderStore(folder / "draws", seconds=1.0, say=print, note=print)
    for number in fit["posterior"]["chain"].values:
        chain = Chain.stored(int(number), store)
        found = fit["posterior"]["CL"].values[number, : chain.size]
        if chain.size and not np.array_equal(
            np.concatenate([part["CL"] for part in chain.draws]), found
        ):
            return False
    return True


def check(method: str, kills: int, root: Path) -> int:
    whole = sample(MODEL, cohort(), METHODS[method], seed=SEED, progress=False)
    began = started(root / "peace", method), time.perf_counter()
    began[0].wait()
    length = time.perf_counter() - began[1]
    say(f"{method}: {length:.1f} s from its folder to the end, posterior {digest(whole)}")
    rng = np.random.default_rng()
    moments, good = Counter[str](), 0
    for number in range(kills):
        folder = root / f"{number}"
        process = started(folder, method)
        time.sleep(rng.uniform(0, length))
        process.send_signal(signal.SIGKILL)
        process.wait()
        moments[where(folder)] += 1
        fit = resume(Run(folder, seconds=0.2), progress=False)
        same = digest(fit) == digest(whole) if method == "marginal" else is_kept(folder, fit)
        good += same
        say(f"  {number + 1}: killed {fit.attrs['resumed']}: {'good' if same else 'LOST'}")
    say(f"{good} of {kills} resumed; killed {dict(moments)}")
    return 0 if good == kills else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--method", choices=METHODS, default="marginal")
    parser.add_argument("--worker", type=Path)
    asked = parser.parse_args()
    if asked.worker is not None:
        run = Run(asked.worker, seconds=0.2)
        sample(MODEL, cohort(), METHODS[asked.method], seed=SEED, run=run, progress=False)
        return 0
    with tempfile.TemporaryDirectory() as root:
        return check(asked.method, asked.kills, Path(root))


if __name__ == "__main__":
    sys.exit(main())
