"""What a process says of its own run: time, CPU time and memory, phase by phase.

Needs the standard library alone: the peers use it in environments of their own.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path


def cpu_seconds():
    """CPU time (user and system) of this process, and of its children that have ended."""
    return sum(os.times()[:4])


def peak_memory():
    """Most memory (bytes) this process has held so far.

    ru_maxrss is only asked where the system has nothing better: it counts the process that started
    this one too.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


class Report:
    """A file of figures that is whole at any time, so that a run cut short leaves what it knew."""

    def __init__(self, path, phase):
        self.path = Path(path)
        self.content = {"phases": []}
        self._begin(phase)

    def _begin(self, phase):
        self.phase, self.began = phase, (time.perf_counter(), cpu_seconds())
        self.tell(running=phase)

    def phase_is(self, name):
        """End the phase before, if it is another one."""
        if name == self.phase:
            return
        self.end()
        self._begin(name)

    def end(self):
        """End the phase that runs."""
        wall, cpu = time.perf_counter() - self.began[0], cpu_seconds() - self.began[1]
        self.content["phases"].append([self.phase, wall, cpu, peak_memory()])
        self.tell(running="")

    def tell(self, **figures):
        """Write down figures by name."""
        self.content |= figures
        fresh = self.path.with_suffix(".part")
        fresh.write_text(json.dumps(self.content))
        fresh.replace(self.path)
