"""The checks that come with popk, made on the user's machine: `popk qualify`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from popk.cli.options import UNSURE, CommandError
from popk.cli.outcome import add_message, add_written, emit
from popk.cli.output import open_console, print_plain, track

if TYPE_CHECKING:
    from rich.console import Console

    from popk.qualification import Check, Outcome

__all__ = ["qualify"]


def qualify(
    *,
    out: Path = Path("popk-qualification"),
    only: Literal["numerical", "inferential", "decision", "integrity"] | None = None,
) -> int:
    """Check that this installation reproduces the references that come with popk.

    Example: popk qualify --out qualification

    This takes some minutes, most of them to compile what is not compiled yet. Concentrations are
    compared with exact solutions, 60-digit arithmetic and NONMEM; posteriors with quadrature and
    another program; probabilities and intervals with brute force and with known truths; and broken
    data, unsafe patients and damaged results are to be refused. VALIDATION.md and validation.json
    hold every figure beside its limit, versions, machine and hashes.

    Parameters
    ----------
    out
        Folder for VALIDATION.md and validation.json; older ones are replaced
    only
        Make the checks of one kind only
    """
    _check_place(out)  # before minutes of work
    from popk.qualification import as_values, write
    from popk.qualification import qualify as carry_out

    console = open_console()
    with track(console, "checks") as bar:

        def progress(check: Check, done: int, total: int) -> None:
            bar(done, total)

        found = carry_out(only, progress=progress, told=lambda one: _tell(console, one))
    values = as_values(found)
    for name in ("passed", "complete", "checks", "requirements", "versions", "environment"):
        emit(name, values[name])
    emit("hashes", values["hashes"])
    add_message(values["statement"])
    style = "bold green" if found.passed else "bold red"
    console.print(values["statement"], style=style, markup=False, highlight=False, soft_wrap=True)
    written = write(found, out)
    add_written(*written)
    print_plain(
        console, f"{found.seconds:.0f} s. Written: {' and '.join(str(path) for path in written)}."
    )
    return 0 if found.passed else UNSURE


def _check_place(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise CommandError(f"--out is {out}, which is a file; give a folder.")
    out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK):
        raise CommandError(f"Nothing can be written to {out}; give another folder by --out.")


def _tell(console: Console, outcome: Outcome) -> None:
    """A line for each check, and what failed in it."""
    from popk.qualification.written import shown

    word = "pass" if outcome.passed else "FAIL"
    print_plain(console, f"{word}  {outcome.check.name} ({outcome.seconds:.1f} s)")
    if outcome.fault:
        print_plain(console, f"      could not be made: {outcome.fault}")
    for one in outcome.measures:
        if not one.passed:
            print_plain(console, f"      {one.what}: {shown(one)}")
