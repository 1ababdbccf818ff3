"""Sampling the posterior: one verb, the method an object."""

from popk.inference.fit import sample
from popk.inference.marginal import Marginal
from popk.inference.nuts import NUTS
from popk.inference.progress import terminal_progress

__all__ = ["NUTS", "Marginal", "sample", "terminal_progress"]
