"""What a cohort's troughs say before any pharmacokinetic model: shares, spread, trends."""

from popk.cohort.description import describe, description_frame
from popk.cohort.hierarchy import build_trough_model
from popk.cohort.troughs import Troughs, find_troughs

__all__ = ["Troughs", "build_trough_model", "describe", "description_frame", "find_troughs"]
