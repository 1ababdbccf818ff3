"""A model as one would write it in PyMC, all patients in arrays, sampled by nutpie.

``pymc_fit.py ORDER``, a file of JSON. The effects are non-centred; the settings are nutpie's own,
save those in the order.
"""

from __future__ import annotations

import json
import sys
import warnings
from itertools import pairwise
from pathlib import Path

from inference.phases import Report


def theophylline(pm, pt, data):
    """The closed form of one compartment with first-order absorption."""
    import numpy as np

    n, who, time = data["N"], np.array(data["id"]) - 1, np.array(data["time"])
    typical = _typical(pm, ("CL", "V", "KA"), data)
    names = ("CL", "V", "KA")
    eta = _effects(pm, names, data)
    CL, V, KA = (typical[name] * pt.exp(eta[name]) for name in names)
    sigma = pm.HalfNormal("sigma_add", data["sigma_scale"])
    k = CL / V
    scale = np.array(data["dose"])[:n] * KA / (V * (KA - k))
    f = scale[who] * (pt.exp(-k[who] * time) - pt.exp(-KA[who] * time))
    pm.Normal("y", f, sigma, observed=np.array(data["y"]))


def linear(pm, pt, data):
    """Two compartments by superposition: a sum over all pairs of observation and earlier dose."""
    import numpy as np

    since, observation, amount, who = pairs(data)
    typical = _typical(pm, ("CL", "V1", "Q", "V2"), data)
    beta = pm.Normal("beta_CL_WT", data["beta_mean"], data["beta_sd"])
    eta = _effects(pm, ("CL", "V1"), data)
    sigma = pm.HalfNormal("sigma_prop", data["sigma_scale"])
    CL = typical["CL"] * pt.exp(beta * np.array(data["log_weight"]) + eta["CL"])
    V1 = typical["V1"] * pt.exp(eta["V1"])
    k10, k12, k21 = CL / V1, typical["Q"] / V1, typical["Q"] / typical["V2"]
    total = k10 + k12 + k21
    fast = 0.5 * (total + pt.sqrt(total**2 - 4 * k10 * k21))
    slow = k10 * k21 / fast
    of_fast, of_slow = ((fast - k21) / (V1 * (fast - slow)), (k21 - slow) / (V1 * (fast - slow)))
    each = of_fast[who] * pt.exp(-fast[who] * since) + of_slow[who] * pt.exp(-slow[who] * since)
    f = pt.zeros(data["K"])[observation].inc(amount * each)
    pm.Normal("y", f, sigma * f, observed=np.array(data["y"]))


MODELS = {"theophylline": theophylline, "linear": linear}


def pairs(data):
    """Time since the dose, observation, amount and patient of every pair."""
    import numpy as np

    time = np.array(data["elapsed"])
    rows = []
    for patient, (start, end) in enumerate(pairwise(np.array(data["first"]) - 1)):
        clock = np.cumsum(time[start:end])
        for k in range(start, end):
            if data["observation"][k]:
                doses = [j for j in range(start, k) if not data["observation"][j]]
                rows += [
                    (clock[k - start] - clock[j - start], data["observation"][k] - 1,
                     data["amount"][j], patient)
                    for j in doses
                ]  # fmt: skip
    since, observation, amount, patient = map(np.array, zip(*rows, strict=True))
    return since, observation, amount, patient


def _typical(pm, names, data):
    each = zip(names, data["typical_mean"], data["typical_sd"], strict=True)
    return {name: pm.LogNormal(name, mean, sd) for name, mean, sd in each}


def _effects(pm, names, data):
    found = {}
    for name, scale in zip(names, data["omega_scale"], strict=True):
        omega = pm.HalfNormal(f"omega_{name}", scale)
        found[name] = omega * pm.Normal(f"z_{name}", shape=data["N"])
    return found


def main(path):
    order = json.loads(Path(path).read_text())
    report = Report(order["report"], "importing")
    import numpy as np
    import nutpie
    import pymc as pm
    import pytensor.tensor as pt

    report.phase_is("compiling")
    data = json.loads(Path(order["data"]).read_text())
    with pm.Model() as model:
        MODELS[order["case"]](pm, pt, data)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Cannot cache compiled function")
        compiled = nutpie.compile_pymc_model(model)
    report.phase_is("sampling")
    settings = {name: order[name] for name in ("draws", "chains", "seed")}
    found = nutpie.sample(compiled, tune=order["warmup"], progress_bar=False, **settings)
    report.end()
    names = [name.removeprefix("log ") for name in order["parameters"]]
    posterior, stats = found["posterior"], found["sample_stats"]
    np.savez(order["draws_file"], **{name: posterior[name].values for name in names})
    steps = [
        int(found[group]["n_steps"].sum()) for group in ("sample_stats", "warmup_sample_stats")
    ]
    sampling = report.content["phases"][-1][2]
    report.tell(
        divergences=int(stats["diverging"].sum()),
        # nutpie does not time its warm-up; every gradient takes the same time.
        cpu_of_draws=sampling * steps[0] / sum(steps),
        versions={"nutpie": nutpie.__version__, "pymc": pm.__version__},
    )


if __name__ == "__main__":
    main(sys.argv[1])
