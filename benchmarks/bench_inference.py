"""Whole fits by popk and by its peers: `make bench-inference`. Writes RESULTS_INFERENCE.md.

Every fit runs in a process of its own, one after the other; within a case each tool has its turn,
then the next repeat begins. What a case measured is kept in inference/build, and the page made of
all that is kept, so cases can be run singly:

    python benchmarks/bench_inference.py [--case NAME] [--repeats N] [--limit S] [--quick]

``--quick`` runs short chains and small cohorts, is for trying the comparison itself, and writes
its page and figures apart, into inference/build/quick.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import tempfile
from pathlib import Path

from inference import figures
from inference.agreement import points
from inference.cohorts import WORK
from inference.measure import run
from inference.page import write
from results import commit, processor

HERE = Path(__file__).parent
BUILD = HERE / "inference" / "build"
SEED = 20261123
PATIENCE = 600  # s; for one fit by popk or PyMC
TOOLS = ("popk, Marginal", "popk, NUTS", "Stan, non-centred", "Stan, centred", "PyMC, nutpie")
LENGTH = {"chains": 4, "warmup": 500, "draws": 1000, "accept": 0.8}
QUICK = {"chains": 2, "warmup": 100, "draws": 100, "accept": 0.8}
# Repeats, the seconds that Stan's chains are given, how near its log density must be to popk's (two
# ODE solvers with a relative tolerance of 1e-6 differ by some 0.01 over all observations), settings
# of popk's NUTS, and tools left out.
CASES = {
    "theophylline": {"repeats": 3, "limit": 120, "agreement": 1e-6, "nuts": {}},
    "linear": {"repeats": 1, "limit": 150, "agreement": 1e-6, "nuts": {}},
    "michaelis-menten": {
        "repeats": 1, "limit": 120, "agreement": 0.05, "nuts": {"target_accept": 0.98},
        "not_run": {"PyMC, nutpie": "PyMC has no solver that could sample 80 patients' ODEs"},
    },
}  # fmt: skip
SIZES = (80, 800, 8000)


def marginal(given):
    """Settings of `Marginal`: its own, unless the run is a quick one."""
    return {"draws": 100, "chains": 2, "round_size": 200} if given.quick else {}


def order_of(case, tool, repeat, given):
    """Program and order of one fit; see the programs' scripts for what an order holds."""
    settings = CASES[case]
    length = QUICK if given.quick else LENGTH
    order = {
        "case": case, "patients": None, "whole": False, "seed": SEED + repeat, "limit": PATIENCE,
        **length,
    }  # fmt: skip
    if tool == "popk, Marginal":
        return "popk", {**order, "method": "Marginal", "settings": marginal(given)}
    if tool == "popk, NUTS":
        own = {"draws": 100, "tune": 100, "chains": 2, "pilot": 50} if given.quick else {}
        return "popk", {**order, "method": "NUTS", "settings": {**settings["nuts"], **own}}
    if tool == "PyMC, nutpie":
        return "pymc", order
    limit = given.limit or (10 if given.quick else settings["limit"])
    return "stan", {
        **order,
        "limit": limit,
        "centred": int(tool == "Stan, centred"),
        "agreement": settings["agreement"],
    }


def compare(case, given, folder):
    """Every tool on one case, in turn, as often as wanted: runs by tool."""
    work = WORK[case]()
    stored = Path(folder) / "data.json"
    stored.write_text(json.dumps(work.data))
    where, densities = points(work, SEED)
    handed = {
        "data": str(stored), "program": work.program, "parameters": work.parameters,
        "points": where.tolist(), "densities": densities.tolist(),
    }  # fmt: skip
    wanted = [tool for tool in TOOLS if not given.tool or tool in given.tool]
    warm_up(case, wanted, folder)
    left_out = CASES[case].get("not_run", {})
    runs = {tool: [] for tool in wanted}
    for repeat in range(given.repeats or (1 if given.quick else CASES[case]["repeats"])):
        for tool in wanted:
            if tool in left_out:
                runs[tool].append({"phases": [], "why_not": left_out[tool]})
                continue
            program, order = order_of(case, tool, repeat, given)
            found = run(program, {**handed, **order}, folder)
            runs[tool].append(found)
            say(case, tool, found)
    return {"runs": runs, "patients": work.dataset.n_subjects,
            "observations": work.dataset.n_observations, "model": str(work.model)}  # fmt: skip


def warm_up(case, wanted, folder):
    """A short fit by each method of popk, that no figure counts: fills the caches on the disk."""
    short = {"Marginal": {"draws": 10}, "NUTS": {"draws": 10, "tune": 50, "pilot": 0}}
    for method, settings in short.items():
        if f"popk, {method}" in wanted:
            order = {"case": case, "patients": None, "whole": False, "seed": SEED,
                     "limit": PATIENCE, "method": method, "settings": settings}  # fmt: skip
            found = run("popk", order, folder)
            if "why_not" in found:
                print(f"{case}: warming up popk's {method}: {found['why_not']}", file=sys.stderr)


def scaling(given, folder):
    """`popk.sample` by Marginal on linear cohorts of different sizes: one run each."""
    runs = {}
    for patients in SIZES[:-1] if given.quick else SIZES:
        order = {
            "case": "linear", "patients": patients, "whole": True, "seed": SEED,
            "limit": given.limit or PATIENCE, "method": "Marginal", "settings": marginal(given),
        }  # fmt: skip
        runs[str(patients)] = run("popk", order, folder)
        say("scaling", f"{patients} patients", runs[str(patients)])
    return {"runs": runs}


def start(given, folder):
    """`popk.sample` on theophylline with empty caches, and again in a new process."""
    order = {
        "case": "theophylline", "patients": None, "whole": True, "seed": SEED,
        "limit": PATIENCE, "method": "Marginal", "settings": marginal(given),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as caches:
        flags = f"{os.environ.get('PYTENSOR_FLAGS', '')},base_compiledir={caches}/pytensor"
        environment = {"NUMBA_CACHE_DIR": f"{caches}/numba", "PYTENSOR_FLAGS": flags.strip(",")}
        runs = {}
        for which in ("first", "second"):
            runs[which] = run("popk", order, folder, environment=environment)
            say("start", f"{which} fit", runs[which])
    return {"runs": runs}


OTHERS = {"scaling": scaling, "start": start}


def say(case, what, found):
    told = [found[key] for key in ("why_not", "cut") if found.get(key)] + figures.faults(found)
    if "ess" in found:
        told = [f"ESS {found['ess']:.0f} in {figures.seconds(found):.1f} s", *told]
    print(f"{case}, {what}: {'; '.join(told) or 'no draws'}", file=sys.stderr)


def conditions(given):
    """Under what a case was measured."""
    return {
        "date": str(datetime.datetime.now(datetime.UTC).date()),
        "code": commit(),
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "quick": given.quick,
    }


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--case", action="append", choices=[*CASES, *OTHERS],
        help="only this case (may be given several times); others are kept",
    )  # fmt: skip
    parser.add_argument("--tool", action="append", choices=TOOLS, help="only this tool (likewise)")
    parser.add_argument("--repeats", type=int, help="repeats of each comparison")
    parser.add_argument("--limit", type=float, help="seconds for Stan's chains, or for one scaling")
    parser.add_argument("--quick", action="store_true", help="short chains, small cohorts")
    parser.add_argument("--page", action="store_true", help="measure nothing; make the page anew")
    parser.add_argument("--out", type=Path, help="file to write")
    return parser.parse_args()


def main():
    given = arguments()
    build = BUILD / "quick" if given.quick else BUILD
    build.mkdir(parents=True, exist_ok=True)
    for case in [] if given.page else given.case or [*CASES, *OTHERS]:
        with tempfile.TemporaryDirectory() as folder:
            found = OTHERS[case](given, folder) if case in OTHERS else compare(case, given, folder)
        replace(build / f"{case}.json", json.dumps({**conditions(given), **found}, indent=1))
    kept = {
        case: json.loads((build / f"{case}.json").read_text())
        for case in (*CASES, *OTHERS)
        if (build / f"{case}.json").exists()
    }
    if not kept:
        sys.exit("Nothing has been measured yet: run without --page.")
    out = given.out or (build if given.quick else HERE) / "RESULTS_INFERENCE.md"
    replace(out, write(kept))
    print(f"written: {out}", file=sys.stderr)


def replace(file, text):
    """Write a file whole or not at all."""
    fresh = file.with_name(file.name + ".part")
    fresh.write_text(text)
    fresh.replace(file)


if __name__ == "__main__":
    main()
