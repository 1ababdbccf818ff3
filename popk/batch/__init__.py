"""Tables of any number of patients; a function mapped over processes or a cluster."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from popk.batch.table import Batch, individualise_table
    from popk.batch.workers import Outcome, WorkerError, mapped

__all__ = ["Batch", "Outcome", "WorkerError", "individualise_table", "mapped"]

# A process that computes something else than advice need not load what advice takes.
_HOMES = {
    "Batch": "table",
    "Outcome": "workers",
    "WorkerError": "workers",
    "individualise_table": "table",
    "mapped": "workers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'popk.batch' has no attribute {name!r}")
    return getattr(import_module(f"popk.batch.{_HOMES[name]}"), name)
