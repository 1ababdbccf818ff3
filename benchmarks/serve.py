"""A tool in a process of its own: it is told what to do in lines of JSON, and answers so.

Each runs on one core, so that a tool's threads do not flatter it, and times itself, so that the
pipe between the processes costs nothing. Whatever the tool prints goes to standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
from importlib.metadata import version

import numpy as np
from cases import Case

BATCH = 0.15  # s; a measurement is the mean over as many evaluations as fit


@contextlib.contextmanager
def one_core():
    """Keep this process on one core, where the system lets us."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def seconds(repeat, batch=BATCH):
    """Mean time of one evaluation; ``repeat(n)`` evaluates n times."""
    times = 1
    while True:
        began = time.perf_counter()
        repeat(times)
        elapsed = time.perf_counter() - began
        if elapsed >= batch / 2:
            return elapsed / times
        times = int(times * min(10.0, max(2.0, batch / max(elapsed, 1e-9))))


def serve(load, *packages):
    """Answer until the input ends.

    ``load(case, options)`` returns ``(repeats, check)``: ``repeats["density"](n)`` computes the log
    density and its gradient n times; ``check()`` returns the concentrations (patients, TROUGHS) and
    the gradient of the log density (patients, parameters). The first answer names the versions of
    the packages.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    answers.write(json.dumps({name: version(name) for name in packages}) + "\n")
    repeats = {}
    with one_core():
        for line in sys.stdin:
            order = json.loads(line)
            try:
                if "load" in order:
                    repeats, check = load(Case.load(order["load"]), order["options"])
                    concentration, gradient = check()
                    np.savez(order["found"], concentration=concentration, gradient=gradient)
                    answer = {}
                else:
                    answer = {"seconds": seconds(repeats[order["time"]])}
            except Exception as error:  # noqa: BLE001 - the other process reports it
                traceback.print_exc()
                answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
            answers.write(json.dumps(answer) + "\n")
