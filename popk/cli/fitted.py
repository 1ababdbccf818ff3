"""What happens to a fit on the command line: its folder, its manifest, its end after a break."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from popk.cli.options import UNSURE, CommandError, Reading, read
from popk.cli.output import open_console, print_plain, print_table, print_verdict, print_written

if TYPE_CHECKING:
    import xarray as xr
    from rich.console import Console

    from popk.dataset import Dataset
    from popk.individual import Trough

__all__ = [
    "FIT",
    "finish",
    "fit_file",
    "fit_of",
    "patients_for",
    "refuse_used",
    "resume",
    "trough_of",
    "write_manifest",
]

FIT = "fit.nc"
"""The fit's file in a run's folder."""
_MANIFEST = "manifest.json"


def fit_file(run: Path) -> Path:
    """The file of a run's fit; there must be one."""
    path = run / FIT
    if not path.is_file():
        raise CommandError(f"{run} holds no fit ({FIT}). Make one with popk fit … --out {run}.")
    return path


def fit_of(run: Path) -> xr.DataTree:
    """The fit that a run's folder holds."""
    from popk.storage import load

    return load(fit_file(run))


def patients_for(fit: xr.DataTree, patients: str, reading: Reading | None) -> Dataset | None:
    """The patients of a file, read in the fit's units; None for the word cohort, the fit's own.

    Their covariates hold between records as the fit's do, unless --carry says otherwise.
    """
    if patients == "cohort":
        return None
    units, carry = json.loads(fit.attrs["units"]), fit["data"].attrs.get("carry")
    return read(patients, reading or Reading(), units, carry=carry)


def trough_of(fit: xr.DataTree, target: float) -> Trough:
    """A trough target in the fit's unit."""
    from popk.individual import Trough

    if not target > 0:
        raise CommandError(f"--target is {target:g}; a trough target is above zero.")
    return Trough(target, json.loads(fit.attrs["units"])["concentration"])


def resume(run: Path) -> int:
    """Continue a fit that was interrupted, from the last draws on disk.

    Example: popk resume runs/first

    Parameters
    ----------
    run
        Folder that `popk fit` wrote
    """
    from popk.inference import resume as go_on
    from popk.inference import state_of, terminal_progress

    console = open_console()
    finished = state_of(run) == "finished"
    with terminal_progress(console) as progress:
        result = go_on(run, progress=progress)
    if finished and (run / _MANIFEST).exists():
        print_plain(console, f"{run} is finished: there is nothing to resume.")
    return finish(console, result, run)


def refuse_used(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds a fit or a run, unless it is to be overwritten."""
    # Without a file of a run there is no need for slow imports.
    if overwrite or not out.is_dir() or not any(out.iterdir()):
        return
    from popk.inference import state_of

    state = state_of(out)
    if state == "finished":
        raise CommandError(
            f"{out} holds a fit already. Give another folder with --out, or --overwrite to "
            "replace it."
        )
    if state == "unfinished":
        raise CommandError(
            f"{out} holds an unfinished run: popk resume {out} continues it. Or give another "
            "folder with --out, or --overwrite to begin anew."
        )


def finish(console: Console, result: xr.DataTree, out: Path) -> int:
    """Write the manifest of a fit; print its verdict and its population parameters.

    Gives the exit code: another where the fit did not converge.
    """
    from popk.diagnostics import verdict_of
    from popk.reporting import parameter_table

    write_manifest(result, out)
    print_verdict(console, result)
    print_table(console, parameter_table(result), result, key="parameters")
    print_written(console, out / FIT, out / _MANIFEST)
    return 0 if verdict_of(result).converged else UNSURE


def write_manifest(fitted: xr.DataTree, out: Path) -> None:
    """Write what the fit rests on, and its checksum, as JSON."""
    from popk.journal import Journal
    from popk.storage import checksum, write_atomically

    attrs = fitted.attrs
    plain = ("kind", "popk_version", "created", "model_name", "model_hash", "data_hash")
    content: dict[str, Any] = {name: str(attrs[name]) for name in plain}
    content["seed"] = int(attrs["seed"])
    for name in ("method", "units", "versions", "verdict"):
        content[name] = json.loads(attrs[name])
    content["sha256"] = {FIT: checksum(out / FIT)}
    if (finished := Journal(out).read().last("finished")) is not None:
        content["journal"] = {"finished": finished.hash}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(out / _MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))
