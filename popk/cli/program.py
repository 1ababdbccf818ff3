"""The program `popk`: its commands in groups, its exit codes, and what happens to errors."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError, Group

from popk.cli.batched import batch
from popk.cli.bedside import sheet
from popk.cli.calibrated import sbc
from popk.cli.commands import check, check_priors, demo, fit, individualise, models
from popk.cli.compared import compare
from popk.cli.conversion import import_nonmem
from popk.cli.decided import decide
from popk.cli.described import describe
from popk.cli.fitted import resume
from popk.cli.foreseen import forecast
from popk.cli.halved import half_life
from popk.cli.outcome import as_json, is_json
from popk.cli.output import open_console
from popk.cli.qualified import qualify
from popk.cli.reported import report
from popk.cli.robust import robustness
from popk.cli.served import serve
from popk.cli.studied import run
from popk.cli.tried import trial
from popk.cli.verified import export, repeat, verify
from popk.errors import PopkError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["app", "main"]

_TERMINATED = 143  # 128 + SIGTERM
_FULL = {errno.ENOSPC, errno.EDQUOT}


def _version() -> str:
    from popk import __version__

    return __version__


_EPILOGUE = (
    "Every command takes --json: one JSON document on standard output (tables, verdict, messages, "
    "files written), everything else on standard error.\n\n"
    "Exit codes: 0 done; 2 refused, one message on standard error; 3 done, but the result is not "
    "to be relied upon (a fit did not converge, priors and data do not go together, a model is not "
    "calibrated, an installation does not reproduce its references, a fit repeated does not agree, "
    "files have no journal to be held against); 130 interrupted, 143 terminated: what was drawn is "
    "kept."
)
_DATA = Group.create_ordered("Data")
_MODELS = Group.create_ordered("Models and fits")
_CHECKS = Group.create_ordered("Checks and comparison")
_PATIENTS = Group.create_ordered("Patients")
_FILES = Group.create_ordered("Files and demonstration")

app = App(
    name="popk",
    version=_version,
    help="Bayesian population pharmacokinetics: from sparse concentrations to the next dosing "
    "interval. Research software, not a medical device.\n\n"
    "First steps: popk demo; popk check DATA --units …; popk fit MODEL DATA --out RUN; "
    "popk report RUN. Or all in one file: popk run study.toml.",
    help_epilogue=_EPILOGUE,
    suppress_keyboard_interrupt=False,
)
_COMMANDS: tuple[tuple[Group, tuple[Callable[..., object], ...]], ...] = (
    (_DATA, (check, describe, check_priors)),
    (_MODELS, (run, fit, resume, models, import_nonmem)),
    (_CHECKS, (compare, forecast, robustness, sbc, qualify)),
    (_PATIENTS, (individualise, half_life, batch, sheet, serve, trial)),
    (_FILES, (report, verify, export, repeat, demo)),
)
for _group, _members in _COMMANDS:
    for _member in _members:
        app.command(_member, group=_group)
decide.group = _PATIENTS  # an app of its own takes its group itself
app.command(decide)
app.register_install_completion_command(
    help="Install the completion of commands and options for your shell (bash, zsh, fish)."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `popk` with the arguments given (those of the process without them).

    Returns
    -------
    int
        0 when done, 2 when what was asked cannot be done (one message on stderr), 3 when it was
        done with a result not to be relied upon, 130 when interrupted, 143 when terminated.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if "--json" not in words or {"--help", "-h", "--version"} & set(words):
        return _run([word for word in words if word != "--json"])[0]
    words.remove("--json")
    with as_json(_name_of(words)) as found:
        found["exit_code"], found["error"] = _run(words)
    return int(found["exit_code"])


def _run(words: list[str]) -> tuple[int, str | None]:
    """Carry out a command; gives its exit code, and the sentence where there is no result."""
    errors = open_console(stderr=True)
    try:
        code = app(
            words,
            exit_on_error=False,
            console=open_console() if is_json() else None,
            error_console=errors,
            result_action="return_value",
        )
    except CycloptsError as fault:
        return 2, str(fault)  # cyclopts has printed it
    except KeyboardInterrupt as end:
        return 130, _print_end(errors, "Interrupted", end)
    except SystemExit as end:
        if end.code != _TERMINATED:
            raise
        return _TERMINATED, _print_end(errors, "Terminated", end)
    except (PopkError, OSError, MemoryError) as fault:
        sentence = _sentence(fault)
        if sentence is None:
            raise
        errors.print(sentence, markup=False, highlight=False, soft_wrap=True)
        return 2, sentence
    return (code if isinstance(code, int) else 0), None


def _name_of(words: list[str]) -> str:
    """The command's name, ``decide visit``; empty where there is none."""
    return " ".join(app.parse_commands(words)[0])


def _print_end(errors: Console, word: str, end: BaseException) -> str:
    """Say what ended the command, and what its run's folder noted on how to go on."""
    notes = " ".join(getattr(end, "__notes__", ())) or "No result was written."
    errors.print(f"{word}. {notes}", markup=False, highlight=False, soft_wrap=True)
    return f"{word}. {notes}"


def _sentence(fault: Exception) -> str | None:
    """What to tell the user; None for a fault of popk itself."""
    if isinstance(fault, PopkError):
        return str(fault)
    if isinstance(fault, MemoryError):
        return (
            "There is not enough memory for what was asked. Ask for less at a time (fewer patients "
            "or draws, less that runs side by side), or use a machine with more. Files that were "
            "there are as they were."
        )
    if isinstance(fault, OSError) and fault.errno in _FULL:
        where = "" if fault.filename is None else f" that holds {fault.filename}"
        return (
            f"The disk{where} is full. Make room on it, then give the same command again. Nothing "
            "half-written was left."
        )
    if isinstance(fault, OSError) and fault.strerror:
        where = f"{fault.filename}: " if fault.filename is not None else ""
        # What libraries put there can hold their own account of it.
        reason = fault.strerror if fault.errno is None else os.strerror(fault.errno)
        return f"{where}{reason}."
    return None
