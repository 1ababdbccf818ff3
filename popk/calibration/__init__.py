"""Whether a model's inference is calibrated on a design: simulation-based calibration.

Parameters are drawn, data simulated from them, and the fit of these data must hold the parameters
as often as its probabilities say. Talts, Betancourt, Simpson, Vehtari & Gelman, arXiv:1804.06788;
Modrák et al., Bayesian Analysis 20:461 (2025); Säilynoja, Schmitt, Bürkner & Vehtari,
arXiv:2502.03279, for the version that is conditional on data.
"""

from popk.calibration.result import calibration_frame, rank_frame, reliability_frame
from popk.calibration.simulated import sbc

__all__ = ["calibration_frame", "rank_frame", "reliability_frame", "sbc"]
