"""Exposure and response: outcomes of patients against their own latent exposure.

The exposure of every patient is a function of the individual parameters, draw by draw
(`exposures`); outcomes are read and checked (`read_outcomes`); both together make an ordinary PyMC
model (`build_response`), in which exposure keeps its uncertainty.
"""

from popk.response.exposed import exposure_frame, exposures
from popk.response.kinds import Counts, Ordinal, Outcome, Presence, TimeToEvent
from popk.response.measures import MeanConcentration, MeanTrough, Measure, Saturation, TimeUnder
from popk.response.model import add_outcome, build_response
from popk.response.outcomes import Outcomes, read_outcomes
from popk.response.representation import represent
from popk.response.sampling import association, response_frame, sample_response

__all__ = [
    "Counts",
    "MeanConcentration",
    "MeanTrough",
    "Measure",
    "Ordinal",
    "Outcome",
    "Outcomes",
    "Presence",
    "Saturation",
    "TimeToEvent",
    "TimeUnder",
    "add_outcome",
    "association",
    "build_response",
    "exposure_frame",
    "exposures",
    "read_outcomes",
    "represent",
    "response_frame",
    "sample_response",
]
