"""The few functions that the statistical model needs, for NumPy arrays or for PyTensor graphs.

Written once against these, the model is the same in the sampler, in simulation and in individual
posteriors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.special import log_ndtr


@dataclass(frozen=True, slots=True)
class Operations:
    """Elementwise functions."""

    exp: Callable[[Any], Any]
    log: Callable[[Any], Any]
    sqrt: Callable[[Any], Any]
    where: Callable[[Any, Any, Any], Any]
    log_normal_cdf: Callable[[Any], Any]


NUMPY = Operations(np.exp, np.log, np.sqrt, np.where, log_ndtr)


@cache
def pytensor_operations() -> Operations:
    """The same for symbolic variables (imported late: PyTensor takes seconds)."""
    import pytensor.tensor as pt
    from pymc.distributions.dist_math import normal_lcdf

    return Operations(pt.exp, pt.log, pt.sqrt, pt.where, lambda z: normal_lcdf(0.0, 1.0, z))
