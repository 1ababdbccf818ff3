"""The table of results, in Markdown."""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import re
import statistics
import subprocess
from pathlib import Path

from popk_side import TOLERANCE
from side_by_side import PEERS

INTRODUCTION = """# popk beside its peers

Written by `make bench`; not to be edited. Times are of ONE evaluation of the log density of a
cohort's concentrations (log-normal residuals, six troughs per patient) **and** its gradient by
every individual parameter, per patient and on one core. Doses come every four weeks, at equal
intervals ("regular") or each up to three days off its day ("irregular"); infusions take 1 h. popk
and the peer are measured in turn; the ratio (peer / popk; above 1, popk is the faster one) is the
median of {repeats}, with the smallest and the largest. A peer that would take long is given fewer
patients, as stated, and compared per patient.
"""
LIMIT = """**Limit**: linear models, two exponentials (one per mode) for every stretch between
events that cannot be left out, at {exponential:.2f} ns each (NumPy's vectorised exp, this run);
regular doses leave the stretches between a patient's observations, irregular ones those between
all events. ODE models, the fewest stages with which SciPy's RK45 or DOP853 reaches a relative
accuracy of {accuracy:.0e} when it controls the amounts alone (rejected steps not counted), at
{stage:.1f} ns each (rates and their derivatives by six parameters, many patients at once in vector
instructions, this run). "Of the limit" is limit / popk's fastest
time, as the limits are the fastest of several.
"""
PEER_NOTES = """Stan: models written out by hand, compiled with every instruction of this processor
and without range checks, called without going through Python objects. PyMC: compiled by its numba
backend. SciPy: forward sensitivities, its right-hand side compiled by Numba. diffrax: one solve per
patient with forward-mode derivatives; boluses would take one solve per dose and are left out.
"""
NAMES = {True: "linear", False: "Michaelis-Menten"}


def write(found, simulated, costs, tuned, versions):
    """The whole page."""
    accuracy, options = tuned
    repeats = max((len(c.ours) for done in found for c in done.comparisons), default=0)
    lines = [
        INTRODUCTION.format(repeats=repeats),
        f"- Date: {datetime.datetime.now(datetime.UTC).date()}",
        f"- Code: {commit()}; sources of popk.structure {_source_hash()}",
        f"- Processor: {processor()}, {os.cpu_count()} cores; Python {platform.python_version()}",
        f"- Versions: {_versions(versions)}",
        "- Tolerance of the ODE solvers (absolute: a thousandth of it): "
        f"popk {TOLERANCE:.0e}; of the "
        "peers the loosest with which concentrations are right to "
        f"{accuracy:.0e} (1e-6, or popk's own error where that is larger): {_tolerances(options)}",
        "",
        "## popk",
        "",
        *_table(
            ("model", "doses", "patients", "us per patient", "kernel alone", "ms in all",
             "of the limit", "error of concentration", "of gradient"),
            [_own(done) for done in found],
        ),
        "",
        LIMIT.format(accuracy=accuracy, **{name: 1e9 * cost for name, cost in costs.items()}),
        "## Peers",
        "",
        PEER_NOTES,
        *_table(
            ("model", "doses", "patients", "peer", "its patients", "us per patient",
             "peer / popk", "lowest to highest", "error of concentration", "of gradient"),
            [_row(done, one) for done in found for one in done.comparisons if one.ours],
        ),
        "",
        *_not_run(found),
        "## Simulation",
        "",
        "10,000 virtual patients with IIV for 52 weeks, 13 infusions of 1 h, concentrations of "
        "each day with and without residual error: from the typical values to a pandas table of "
        f"3.64 million rows, popk on {os.cpu_count()} cores.",
        "",
        *_table(
            ("model", "seconds (median)", "lowest to highest"),
            [
                (name, f"{statistics.median(times):.2f}", f"{min(times):.2f} to {max(times):.2f}")
                for name, times in simulated.items()
            ],
        ),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _table(header, rows):
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _case(done):
    wanted = done.wanted
    kind = "infusions" if wanted["infusion"] else "boluses"
    manner = "regular" if wanted["regular"] else "irregular"
    doses = f"{wanted['doses']} {manner} {kind}"
    return NAMES[wanted["linear"]], doses, f"{wanted['patients']:,}"


def _own(done):
    return (
        *_case(done),
        f"{1e6 * done.density:.3g}",
        f"{1e6 * done.kernel:.3g}",
        f"{1e3 * done.density * done.wanted['patients']:.3g}",
        f"{done.limit / done.fastest:.0%}",
        *(f"{error:.0e}" for error in done.accuracy),
    )


def _row(done, one):
    low, high = one.spread
    return (
        *_case(done),
        one.peer,
        f"{one.patients:,}",
        f"{1e6 * statistics.median(one.theirs):.3g}",
        f"**{one.ratio:.3g}**",
        f"{low:.3g} to {high:.3g}",
        *(f"{error:.0e}" for error in one.accuracy),
    )


def _not_run(found):
    reasons = {(one.peer, one.why_not) for done in found for one in done.comparisons if one.why_not}
    for peer, reason in sorted(reasons):
        yield f"- {peer}: not run everywhere: {reason}"
    if reasons:
        yield ""


def _tolerances(options):
    return ", ".join(
        f"{peer.label} {options[peer.form]['tolerance']:.0e}"
        for peer in PEERS
        if "tolerance" in options[peer.form]
    )


def _versions(versions):
    merged = {}
    for found in versions.values():
        merged |= found
    return ", ".join(f"{name} {number}" for name, number in sorted(merged.items()))


def _package():
    """The folder of the popk that was measured."""
    import popk

    return Path(popk.__file__).parent


def _git(*arguments):
    done = subprocess.run(
        ["git", "-C", str(_package()), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None


def commit():
    commit = _git("rev-parse", "--short=12", "HEAD")
    if commit is None:
        return "not under git"
    changed = _git("status", "--porcelain", "--", ".")
    return f"commit {commit}" + (", with changes in popk/ not yet committed" if changed else "")


def _source_hash():
    """Hash of every source file of popk.structure, names included."""
    folder = _package() / "structure"
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def processor():
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found.group(1) if found else platform.processor() or platform.machine()
