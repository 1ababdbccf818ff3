"""Whether this installation reproduces the references that come with popk: `popk qualify`."""

from popk.qualification.check import KINDS, Check, Measure, Outcome, carried_out
from popk.qualification.requirements import REQUIREMENTS, Requirement
from popk.qualification.run import Qualification, checks_of, qualify
from popk.qualification.written import as_markdown, as_values, write

__all__ = [
    "KINDS",
    "REQUIREMENTS",
    "Check",
    "Measure",
    "Outcome",
    "Qualification",
    "Requirement",
    "as_markdown",
    "as_values",
    "carried_out",
    "checks_of",
    "qualify",
    "write",
]
