"""popk and a peer, each in its own process, measured in turn."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

import cases
import numpy as np
from peers.environments import UnavailableError, python_of

HERE = Path(__file__).parent
PATIENCE = 400  # s; a peer that takes longer for one answer is given up
SCRIPTS = {
    "popk": HERE / "popk_side.py",
    "stan": HERE / "peers" / "stan" / "peer.py",
    "diffrax": HERE / "peers" / "diffrax" / "peer.py",
    "pymc": HERE / "peers" / "pymc_naive.py",
    "scipy": HERE / "peers" / "scipy_ivp.py",
}


class Tool:
    """A tool's process."""

    def __init__(self, name, log):
        self.name = name
        path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [python_of(name), str(SCRIPTS[name])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            env={**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)},
        )  # fmt: skip
        self.versions = self._answer()

    def _answer(self):
        watch = threading.Timer(PATIENCE, self.process.kill)
        watch.start()
        line = self.process.stdout.readline()
        watch.cancel()
        if not line:
            raise UnavailableError(f"its process ended or took more than {PATIENCE} s")
        answer = json.loads(line)
        if "error" in answer:
            raise UnavailableError(answer["error"])
        return answer

    def ask(self, **order):
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise UnavailableError("its process has ended") from error
        return self._answer()

    def load(self, case, options, folder):
        """Hand over a case; returns the concentrations and the gradient found."""
        stored, found = Path(folder) / "case.npz", Path(folder) / "found.npz"
        case.save(stored)
        self.ask(load=str(stored), options=options, found=str(found))
        with np.load(found) as values:
            return values["concentration"], values["gradient"]

    def seconds(self, what="density"):
        return self.ask(time=what)["seconds"]

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Tools:
    """Processes by name, started when first asked for; a failure is remembered with its reason."""

    def __init__(self, log):
        self.log, self.running, self.failed = log, {}, {}

    def __getitem__(self, name):
        if name in self.failed:
            raise UnavailableError(self.failed[name])
        if name not in self.running:
            try:
                self.running[name] = Tool(name, self.log)
            except UnavailableError as error:
                self.failed[name] = str(error)
                raise
        tool = self.running[name]
        if tool.process.poll() is not None:
            del self.running[name]
            return self[name]
        return tool

    def close(self):
        for tool in self.running.values():
            tool.close()


@dataclass(frozen=True)
class Comparison:
    """Times per patient (s) of popk and one peer, measured in turn."""

    peer: str
    patients: int
    ours: list = field(default_factory=list)
    theirs: list = field(default_factory=list)
    accuracy: tuple = ()
    why_not: str = ""

    @property
    def ratio(self):
        return statistics.median(b / a for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def spread(self):
        ratios = [b / a for a, b in zip(self.ours, self.theirs, strict=True)]
        return min(ratios), max(ratios)


@dataclass(frozen=True)
class Peer:
    """One way of solving the cases with one tool.

    ``most`` is the largest patients x doses it is given, which keeps one evaluation near a second.
    """

    label: str
    tool: str
    form: str
    linear: bool
    most: int
    regular_only: bool = False
    infusions_only: bool = False

    def fits(self, case):
        return (
            case.linear == self.linear
            and (case.regular or not self.regular_only)
            and (case.duration > 0 or not self.infusions_only)
        )


PEERS = (
    Peer("Stan, geometric series", "stan", "series", True, 10**9, regular_only=True),
    Peer("Stan, from event to event", "stan", "steps", True, 500_000),
    Peer("Stan, sum over doses", "stan", "sum", True, 50_000),
    Peer("PyMC, sum over doses", "pymc", "sum", True, 500_000),
    Peer("Stan, ode_rk45", "stan", "rk45", False, 5_000),
    Peer("Stan, ode_bdf", "stan", "bdf", False, 500),
    Peer("SciPy, LSODA", "scipy", "LSODA", False, 500),
    Peer("SciPy, DOP853", "scipy", "DOP853", False, 500),
    Peer("diffrax, Tsit5", "diffrax", "Tsit5", False, 5_000, infusions_only=True),
    Peer("diffrax, Dopri8", "diffrax", "Dopri8", False, 5_000, infusions_only=True),
)


def compare(tools, peer, case, reference, options, *, repeats, folder):
    """Measure popk, loaded with the case, and a peer in turn.

    ``reference`` is what the first patients' concentrations and derivatives must be.
    """
    popk = tools["popk"]
    patients = max(1, min(case.patients, peer.most // case.dose_times.shape[1]))
    try:
        tool = tools[peer.tool]
        found = tool.load(case.part(patients), options, folder)
        checked = min(patients, len(reference[0]))
        accuracy = cases.errors(
            case.part(checked),
            tuple(part[:checked] for part in found),
            tuple(part[:checked] for part in reference),
        )
        theirs = [tool.seconds() / patients]
    except UnavailableError as error:
        return Comparison(peer.label, patients, why_not=str(error))
    ours = [popk.seconds() / case.patients]
    while len(ours) < repeats:
        theirs.append(tool.seconds() / patients)
        ours.append(popk.seconds() / case.patients)
    return Comparison(peer.label, patients, ours, theirs, accuracy)
