"""How good forecasts were: of each next observation, from none, one, two, ... earlier samples."""

from __future__ import annotations

import json
from collections.abc import Iterator

import xarray as xr

from popk import plots
from popk.comparison import forecast_frame
from popk.reporting.figures import picture
from popk.reporting.forecasts import decision_table, forecast_table
from popk.reporting.material import Material, Reported
from popk.reporting.parts import Heading, Listing, Paragraph, Part, Section, marked

__all__ = ["forecast_section"]

_NONE = (
    "How good the model's forecasts of a patient's next observation are was not evaluated for this "
    "page, as it can take minutes. popk report RUN --forecasts does it; so does "
    "popk.evaluate_forecasts, the result of which popk.report takes as forecasts=."
)


def forecast_section(material: Material) -> Section:
    """Errors, scores and coverage of each fit's forecasts, and the decisions judged."""
    parts: list[Part] = []
    for one in material.reported:
        if one.forecasts is None:
            continue
        if material.several:
            parts.append(Heading(one.name))
        parts += marked(_forecasts(one, one.forecasts), converged=one.verdict.converged)
    return Section("forecasts", "Forecasts", tuple(parts or [Paragraph(_NONE, note=True)]))


def _forecasts(one: Reported, found: xr.DataTree) -> Iterator[Part]:
    words = str(found.attrs["words"])
    yield Paragraph(words)
    own = found.attrs["forecast_data_hash"] == found.attrs["data_hash"]
    who = "each patient left out of the fit" if own else "of other patients than the fit's data"
    yield picture(
        plots.plot_forecasts(found),
        f"{one.anchor}forecasts",
        f"Forecasts of the next observation, {who}. PIT: the place of each observation in its "
        "forecast, flat where forecasts are calibrated (band: 95 % of each bar). Coverage, bias "
        "and precision, and CRPS, by how many of the patient's samples were used, with 95 % "
        "intervals.",
        alt=f"Calibration, coverage, errors and CRPS by the number of samples used. {words}",
    )
    for which in ("next", "all"):
        frame = forecast_frame(found).loc[which].reset_index()
        yield forecast_table(found, which=which).with_frame(frame)
    if "decisions" in found.children:
        frame = forecast_frame(found, "decisions").reset_index()
        yield decision_table(found).with_frame(frame)
    if notes := json.loads(found.attrs["notes"]):
        yield Listing(tuple(notes), note=True)
