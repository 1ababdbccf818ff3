"""The dosing page on the command line: `popk serve`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from popk.cli.fitted import fit_of
from popk.cli.options import CommandError, parse_weeks
from popk.cli.output import open_console, print_plain

if TYPE_CHECKING:
    from rich.console import Console

    from popk.serving import Served

__all__ = ["serve"]

_NEEDED = ("starlette", "uvicorn")


def serve(  # noqa: PLR0913
    run: Path,
    *,
    port: int = 8750,
    host: str = "127.0.0.1",
    token: Annotated[str | None, Parameter(env_var="POPK_TOKEN")] = None,
    name: Annotated[list[str] | None, Parameter(negative="")] = None,
    certificate: Path | None = None,
    key: Path | None = None,
    target: float | None = None,
    probability: float = 0.9,
    weeks: str = "4:8",
    seed: int = 1,
) -> None:
    """Open a web page that advises one patient at a time, on this machine.

    Example: popk serve RUN --target 10

    The page needs no network. Nothing of a patient is written to disk or to a log; Ctrl-C ends it.

    Parameters
    ----------
    run
        Folder that `popk fit` wrote
    port
        Port of the page; 0 takes a free one
    host
        Address to listen on. Any but this machine's own demands a token, and should have a
        certificate
    token
        Token of 16 characters or more, which whoever opens the page must enter. Best given in the
        variable POPK_TOKEN, as others on this machine can see options; without it one is made and
        printed where it is demanded
    name
        Name under which other machines reach this one (study.example.org); repeatable
    certificate
        PEM file of a certificate, for an encrypted connection (https)
    key
        PEM file of its key
    target
        Trough that the page begins with, in the concentration unit of the fit
    probability
        Probability that it begins with
    weeks
        Candidate intervals that it begins with: 4:8 (both ends included) or 4,5,6
    seed
        Seed of the random numbers
    """
    if any(find_spec(needed) is None for needed in _NEEDED):
        raise CommandError(
            "popk serve needs Starlette and uvicorn, which are not installed. Install them with "
            'pip install "popk[serve]".'
        )
    parse_weeks(weeks)
    from popk.serving import Question, study_of
    from popk.serving import serve as listen

    question = Question(target, probability, weeks, seed)
    console = open_console()
    study = study_of(fit_of(run))
    print_plain(console, "Getting ready; the first time on a machine this takes a minute or so.")
    study.warm_up()
    listen(
        study, host=host, port=port, token=token, names=name or (), certificate=certificate,
        key=key, question=question, ready=lambda found: _print(console, found),
    )  # fmt: skip


def _print(console: Console, found: Served) -> None:
    """Where the page is, and what is to be known of it."""
    print_plain(console, f"The dosing page is at {found.url} (Ctrl-C ends it).")
    if found.made:
        print_plain(console, f"It asks for this token: {found.token}")
    elif found.token is not None:
        print_plain(console, "It asks for the token that you gave.")
    if not (found.local or found.encrypted):
        print_plain(
            console,
            "The connection is not encrypted: others on the network can read what is entered. Give "
            "--certificate and --key, or let a proxy on this machine encrypt it.",
        )
    print_plain(console, "Research software: it informs, it does not prescribe.")
