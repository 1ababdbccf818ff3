"""A study file carried out end to end: `popk run`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from popk.cli.options import UNSURE
from popk.cli.outcome import add_written, emit
from popk.cli.output import open_console, print_plain, track

if TYPE_CHECKING:
    from rich.console import Console

    from popk.study import Ready
    from popk.study.conduct import Carried

__all__ = ["run"]


def run(
    study: Path,
    *,
    check: Annotated[bool, Parameter(negative="")] = False,
    out: Path | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Carry out a study file: read, fit, check, compare, advise, report; each step once.

    Example: popk run study.toml --check, then popk run study.toml

    What was done from the same data, models and settings is kept, an interrupted fit goes on, and
    the same file gives the same results on the same machine.

    Parameters
    ----------
    study
        The study file (TOML): data, models, targets, seed
    check
        Only check the file, the data and the models; nothing is fitted or written
    out
        Folder of the results instead of that of the study file
    overwrite
        Replace fits in the folder that rest on other data, models or settings
    """
    from popk.study import make_ready, read_study

    console = open_console()
    ready = make_ready(read_study(study, out=out))
    _describe(console, ready)
    if check:
        print_plain(
            console,
            f"{study} can be carried out: popk run {study} does so and writes to "
            f"{ready.study.out}.",
        )
        return 0

    from popk.inference import terminal_progress
    from popk.study import Watch, carry_out

    watch = Watch(
        say=lambda text: print_plain(console, text),
        sampling=lambda: terminal_progress(console),
        bar=lambda what: track(console, what),
    )
    return _end(console, carry_out(ready, overwrite=overwrite, watch=watch))


def _describe(console: Console, ready: Ready) -> None:
    """Print what was read, before anything is fitted."""
    from popk.dataset.problems import render

    for what, source in (("Data", ready.data), ("Patients to advise", ready.patients)):
        if source is None:
            continue
        print_plain(console, f"{what}: {source.path.name}")
        print_plain(console, repr(source.dataset))
        if source.dataset.warnings:
            print_plain(console, render(source.dataset.warnings, source.path.name))
    for name, model in ready.models.items():
        fitting = ready.study.models[name]
        method = type(fitting.method).__name__
        print_plain(console, f"Model {name}: {model.name} ({fitting.source}), by {method}.")


def _end(console: Console, carried: Carried) -> int:
    emit("steps", dict(carried.steps))
    emit("done", list(carried.done))
    emit("digest", carried.digest)
    emit("verdicts", {name: json.loads(one.to_json()) for name, one in carried.verdicts.items()})
    add_written(carried.out)
    kept = len(carried.steps) - len(carried.done)
    print_plain(console, f"{len(carried.done)} steps done, {kept} kept from before.")
    if carried.left:
        print_plain(
            console,
            "Left from an earlier state of the study file, and no part of it now: "
            f"{', '.join(carried.left)}.",
        )
    pages = sorted(path for path in carried.out.rglob("*.html"))
    print_plain(console, f"Reports: {', '.join(map(str, pages))}.")
    print_plain(console, f"Results: {carried.out}; digest {carried.digest[:16]} (manifest.json).")
    unsure = [name for name, verdict in carried.verdicts.items() if not verdict.converged]
    if unsure:
        print_plain(
            console, f"Not converged, and no final result: {', '.join(unsure)}. See the verdicts."
        )
        return UNSURE
    return 0
