"""The peers' environments, each made once from the requirements beside the peer."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


class UnavailableError(Exception):
    """A peer cannot be run here; says why."""


def python_of(peer):
    """The Python that runs a peer: popk's own where the peer has no requirements of its own."""
    folder = HERE / peer
    requirements = folder / "requirements.txt"
    if not requirements.exists():
        return sys.executable
    if peer == "stan" and shutil.which("g++") is None:
        raise UnavailableError("no g++ on the PATH to compile its models")
    environment = folder / ".venv"
    found = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    ready = environment / ".ready"
    if ready.exists() and ready.read_text() == wanted:
        return str(found)
    print(f"making the environment of {peer}, once", file=sys.stderr)
    _run([sys.executable, "-m", "venv", "--clear", str(environment)], peer)
    pip = [str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--only-binary", ":all:", "-r", str(requirements)], peer)
    ready.write_text(wanted)
    return str(found)


def _run(command, peer):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise UnavailableError(
            f"its environment could not be made: {(errors or ['no reason'])[-1]}"
        )
