"""The joint density of a model and data, in machine code that holds no data."""

from popk.inference.density.compiled import compiled_density
from popk.inference.density.evaluated import Density
from popk.inference.density.sampler import Ready, begin

__all__ = ["Density", "Ready", "begin", "compiled_density"]
