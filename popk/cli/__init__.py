"""The command `popk`: check a data set, fit, find intervals, write the report."""

from popk.cli.options import CommandError
from popk.cli.program import app, main

__all__ = ["CommandError", "app", "main"]
