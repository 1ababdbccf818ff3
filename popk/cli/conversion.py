"""The command that makes a model of other software's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from popk.cli.options import CommandError, parse_units
from popk.cli.outcome import emit
from popk.cli.output import open_console, print_plain, print_written

__all__ = ["import_nonmem"]


def import_nonmem(
    control: Path,
    *,
    out: Path,
    units: str,
    cv: float = 1.0,
    estimates: str = "initial",
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Make a model of a NONMEM control stream; print what was carried over and what was left out.

    Example: popk import-nonmem run1.mod --units time=h,amount=mg,concentration=mg/L --out own.json

    Parameters
    ----------
    control
        The control stream
    out
        File for the model, as JSON; a command that takes a model takes this file
    units
        Units of its data and covariates: time=h,amount=mg,concentration=mg/L,WT=kg
    cv
        Coefficient of variation of the priors, as a fraction
    estimates
        On which the priors are centred: initial, final (of the .ext file beside the control
        stream), or an .ext file
    overwrite
        Replace the file that is there
    """
    from popk.nonmem import from_nonmem
    from popk.storage import write_atomically

    if out.exists() and not overwrite:
        raise CommandError(f"{out} is there already. Give another file, or --overwrite.")
    found = from_nonmem(control, units=parse_units(units), cv=cv, estimates=estimates)
    text = found.model.to_json() + "\n"
    write_atomically(out, lambda path: path.write_text(text, encoding="utf-8"))
    console = open_console()
    print_plain(console, str(found))
    emit("model", json.loads(found.model.to_json()))
    print_plain(console, "")
    print_written(console, out)
