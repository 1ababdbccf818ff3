"""What conclusions hang on: the prior, the amount of data, single patients."""

from popk.sensitivity.patients import STRONG, influence
from popk.sensitivity.power import SENSITIVE, power_scaling
from popk.sensitivity.together import LOOKS, USUAL, robustness

__all__ = [
    "LOOKS",
    "SENSITIVE",
    "STRONG",
    "USUAL",
    "influence",
    "power_scaling",
    "robustness",
]
