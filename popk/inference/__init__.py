"""Sampling the posterior: one verb, the method an object."""

from popk.inference.display import terminal_progress
from popk.inference.fit import resume, sample
from popk.inference.laplace import Laplace
from popk.inference.map import MAP
from popk.inference.marginal import Marginal
from popk.inference.method import Method
from popk.inference.numpyro_nuts import NumpyroNUTS
from popk.inference.nuts import NUTS
from popk.inference.pathfinder import Pathfinder
from popk.inference.progress import ChainReport, Report
from popk.inference.runs import Run, Terminated, discard_run, state_of
from popk.inference.smc import SMC
from popk.inference.vi import VI

__all__ = [
    "MAP",
    "NUTS",
    "SMC",
    "VI",
    "ChainReport",
    "Laplace",
    "Marginal",
    "Method",
    "NumpyroNUTS",
    "Pathfinder",
    "Report",
    "Run",
    "Terminated",
    "discard_run",
    "resume",
    "sample",
    "state_of",
    "terminal_progress",
]
