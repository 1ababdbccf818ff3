"""popk beside its peers: `make bench`. Writes RESULTS.md.

Every figure is the time of one evaluation of the log density of a cohort's concentrations
(log-normal residuals) and of its gradient by all individual parameters, on one core. popk and the
peer are measured in turn, several times; the ratio is the median of the ratios.

    python benchmarks/bench_peers.py [--quick] [--out FILE]

``--quick`` measures the small cohorts, once, and is for trying the comparison itself.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import cases
import limits
from results import write
from side_by_side import PEERS, SCRIPTS, Tools, UnavailableError, compare

HERE = Path(__file__).parent
ACCURACY = 1e-6  # relative, of ODE models' concentrations, where popk is at least as accurate
CHECKED = 4  # patients whose ODE solutions are compared with the reference
TOLERANCES = tuple(10.0 ** (-k / 2) for k in range(6, 21))


@dataclass
class Measured:
    """One case: what popk takes per patient (s; median), and each peer beside it."""

    wanted: dict
    limit: float = 0.0
    density: float = 0.0
    fastest: float = 0.0
    kernel: float = 0.0
    accuracy: tuple = ()
    comparisons: list = field(default_factory=list)


def wanted_cases(quick):
    """Settings of `cases.make_case`."""
    sizes = [(80, 6, False), (80, 60, False), (80, 13, True), (80, 130, True)]
    sizes += [(8000, 6, False), (8000, 60, False)]
    linear = [
        {"linear": True, "patients": n, "doses": d, "infusion": i, "regular": regular}
        for (n, d, i), regular in itertools.product(sizes, (True, False))
    ]
    sizes = [(80, 6, False), (80, 6, True), (80, 60, True), (80, 13, True), (80, 130, True)]
    ode = [
        {"linear": False, "patients": n, "doses": d, "infusion": i, "regular": True}
        for n, d, i in [*sizes, (8000, 6, True), (8000, 60, True)]
    ]
    irregular = {"linear": False, "patients": 80, "infusion": True, "regular": False}
    ode[5:5] = [{**irregular, "doses": 6}, {**irregular, "doses": 60}]
    if quick:
        return [case for case in linear + ode if case["patients"] * case["doses"] <= 480]
    return linear + ode


def reference_of(case):
    """Concentrations and derivatives as they must be; of an ODE model, the first patients'."""
    if case.linear:
        return cases.linear_reference(case)
    from peers.scipy_ivp import solve

    return solve(case.part(CHECKED), "DOP853", 1e-12)[:2]


def tune(tools, folder):
    """How accurate ODE solutions are to be, and each peer's options, by form.

    The accuracy is ACCURACY, or popk's own where that is less; a peer gets the loosest tolerance
    with which it is as accurate.
    """
    case = cases.make_case(linear=False, patients=CHECKED, doses=6, regular=True, infusion=True)
    reference = reference_of(case)
    own = cases.errors(case, tools["popk"].load(case, {}, folder), reference)[0]
    accuracy = max(ACCURACY, own)
    options = {peer.form: {"form": peer.form} for peer in PEERS}
    for peer in PEERS:
        for tolerance in TOLERANCES if not peer.linear else ():
            options[peer.form] = {"form": peer.form, "tolerance": tolerance}
            try:
                found = tools[peer.tool].load(case, options[peer.form], folder)
            except UnavailableError as error:
                print(f"{peer.label}: {error}", file=sys.stderr)
                break
            if cases.errors(case, found, reference)[0] <= accuracy:
                break
    return accuracy, options


def measure(tools, wanted, costs, tuned, *, repeats, folder):
    """popk and every peer that fits, on one case."""
    accuracy, options = tuned
    case = cases.make_case(**wanted)
    reference = reference_of(case)
    found = tools["popk"].load(case, {}, folder)
    checked = len(reference[0])
    done = Measured(wanted)
    done.accuracy = cases.errors(
        case.part(checked), tuple(part[:checked] for part in found), reference
    )
    if case.linear:
        done.limit = limits.exponentials(case) * costs["exponential"]
    else:
        part = case.part(CHECKED)
        done.limit = limits.stages_needed(part, reference[0], accuracy)[0] * costs["stage"]
    popk = tools["popk"]
    times = [(popk.seconds("density"), popk.seconds("kernel")) for _ in range(repeats)]
    done.density, done.kernel = (
        statistics.median(column) / case.patients for column in zip(*times, strict=True)
    )
    done.fastest = min(time for time, _ in times) / case.patients
    print(f"{wanted}: popk {1e6 * done.density:.2f} us per patient", file=sys.stderr)
    for peer in PEERS:
        if peer.fits(case):
            one = compare(
                tools, peer, case, reference, options[peer.form], repeats=repeats, folder=folder
            )
            told = f"ratio {one.ratio:.2f}" if one.ours else f"not run: {one.why_not}"
            print(f"    {peer.label}: {told}", file=sys.stderr)
            done.comparisons.append(one)
    return done


def simulations():
    """Seconds of each simulation of 10,000 virtual patients, on all cores."""
    done = subprocess.run(
        [sys.executable, str(SCRIPTS["popk"]), "simulate"],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="the small cohorts, measured once")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md", help="file to write")
    given = parser.parse_args()
    costs = {"exponential": limits.cost_of_exponential(), "stage": limits.cost_of_stage()}
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        tools = Tools(log)
        try:
            tuned = tune(tools, folder)
            found = [
                measure(tools, wanted, costs, tuned, repeats=1 if given.quick else 7, folder=folder)
                for wanted in wanted_cases(given.quick)
            ]
            versions = {name: tool.versions for name, tool in tools.running.items()}
        finally:
            tools.close()
    text = write(found, simulations(), costs, tuned, versions)
    given.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
