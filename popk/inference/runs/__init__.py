"""Runs that are never lost: what was drawn goes to a folder, and sampling goes on from there."""

from popk.inference.runs.environment import environment, versions
from popk.inference.runs.folder import (
    Description,
    OpenRun,
    Run,
    about_run,
    begin_or_go_on,
    discard_run,
    go_on,
    state_of,
)
from popk.inference.runs.interruption import Terminated
from popk.inference.runs.store import NOWHERE, Store

__all__ = [
    "NOWHERE",
    "Description",
    "OpenRun",
    "Run",
    "Store",
    "Terminated",
    "about_run",
    "begin_or_go_on",
    "discard_run",
    "environment",
    "go_on",
    "state_of",
    "versions",
]
