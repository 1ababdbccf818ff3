"""One patient: posterior without a refit, forecast, and how long the next interval may be."""

from popk.individual.advice import decide, individualise
from popk.individual.decision import Trough
from popk.individual.kernel import find_modes, patients_of, propose

__all__ = ["Trough", "decide", "find_modes", "individualise", "patients_of", "propose"]
