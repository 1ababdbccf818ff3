"""What a fit was computed with: versions and machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

__all__ = ["environment", "versions"]

_LIBRARIES = (
    "popk", "pymc", "pytensor", "nutpie", "numba", "llvmlite", "numpy", "scipy", "xarray",
    "arviz-stats",
)  # fmt: skip


def versions() -> dict[str, str]:
    """The versions of popk and of the libraries that its numbers come from."""
    return {name: version(name) for name in _LIBRARIES}


def environment() -> dict[str, str | int]:
    """Python, operating system, processor and number of processors that may be used."""
    usable = getattr(os, "process_cpu_count", os.cpu_count)()
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processor": _processor(),
        "processors": usable or 1,
    }


def _processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except FileNotFoundError:
        pass  # not Linux
    return platform.processor()
