"""What conclusions hang on: the prior, the amount of data, single patients."""

from popk.sensitivity.patients import influence
from popk.sensitivity.power import power_scaling

__all__ = ["influence", "power_scaling"]
