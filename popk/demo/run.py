"""What ``popk demo`` does, start to end, with the data that come with popk."""

from __future__ import annotations

import time
from importlib import import_module
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from popk.dataset import Dataset, read_dataset
from popk.demo.summary import summarise
from popk.diagnostics import diagnose, verdict_of
from popk.individual import Trough
from popk.inference import Report, sample, terminal_progress
from popk.model import PopModel
from popk.monitoring import decide, individualise
from popk.reporting import report
from popk.storage import save

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["run"]

SEED = 20261122
TARGETS = (10.0, 5.0, 2.0)  # mg/L: two studied clinically, one simulated
PROBABILITY = 0.9
WEEKS = range(4, 9)


def run(out: Path, console: Console) -> None:
    """Fit, individualise and report; print the cohort's summary and where the reports lie.

    Parameters
    ----------
    out
        Folder for the results; made if it does not exist.
    console
        Where to print.
    """
    began = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    console.rule("1. Real antibody data: nimotuzumab")
    console.print(
        "12 patients, 321 concentrations (Rodriguez-Vera et al. 2015); nonlinear clearance."
    )
    nimotuzumab = _fit("nimotuzumab", _nimotuzumab(), out, console)
    place = out / "nimotuzumab" / "report.html"
    report(
        nimotuzumab,
        checks=diagnose(nimotuzumab, seed=SEED),
        path=place,
        title="Nimotuzumab: real data, 12 patients",
    )

    console.rule("2. Natalizumab: from a cohort's troughs to each patient's interval")
    console.print(
        "80 patients, SYNTHETIC: simulated from the published model (van den Berg et al. 2025), "
        "because no public individual natalizumab data exist."
    )
    fit = _fit("natalizumab", _natalizumab("cohort.csv"), out, console)
    advice = _individualise(fit, _natalizumab("new_patients.csv"), "200 new patients", console)
    cohort = _individualise(fit, None, "the cohort itself", console)
    folder = out / "natalizumab"
    for tree in advice:
        save(tree, folder / f"advice_{tree.attrs['target']:g}.nc")
    report(
        fit,
        advice,
        checks=diagnose(fit, seed=SEED),
        path=folder / "report.html",
        title="Natalizumab: 80 patients (synthetic), intervals for 200 more",
    )

    console.rule("Summary")
    summarise(fit, cohort[0], advice, console)
    console.print(f"\nReports: {place}\n         {folder / 'report.html'}", soft_wrap=True)
    console.print(f"All of it took {time.perf_counter() - began:.0f} s.")


def _fit(name: str, dataset: Dataset, out: Path, console: Console) -> xr.DataTree:
    model: PopModel = import_module(f"popk.models.{name}").model
    with terminal_progress(console) as progress:
        fit = sample(model, dataset, seed=SEED, progress=progress)
    console.print(str(verdict_of(fit)), highlight=False)
    (out / name).mkdir(exist_ok=True)
    save(fit, out / name / "fit.nc")
    return fit


def _individualise(
    fit: xr.DataTree, patients: Dataset | None, who: str, console: Console
) -> list[xr.DataTree]:
    """One forecast of each patient, judged by every target."""
    with terminal_progress(console) as progress:
        advice = individualise(
            fit,
            patients,
            target=Trough(TARGETS[0], "mg/L"),
            probability=PROBABILITY,
            weeks=WEEKS,
            seed=SEED,
            progress=lambda done, total: progress(
                Report(stage=f"individualising {who}", done=done, total=total)
            ),
        )
    others = [
        decide(advice, target=Trough(target, "mg/L"), probability=PROBABILITY)
        for target in TARGETS[1:]
    ]
    return [advice, *others]


def _nimotuzumab() -> Dataset:
    with as_file(_data() / "nimotuzumab" / "data.csv") as path:
        return read_dataset(
            path, units={"time": "h", "amount": "mg", "concentration": "mg/L"}, log_dv=True
        )


def _natalizumab(file: str) -> Dataset:
    units = {"time": "d", "amount": "mg", "concentration": "mg/L", "WT": "kg"}
    with as_file(_data() / "natalizumab" / file) as path:
        return read_dataset(path, units=units)


def _data() -> Path:
    return files("popk.demo") / "data"  # type: ignore[return-value]
