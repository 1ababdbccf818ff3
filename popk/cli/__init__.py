"""The command `popk`: check a data set, fit, find intervals, write the report."""

from popk.cli.commands import app, main
from popk.cli.options import CommandError

__all__ = ["CommandError", "app", "main"]
