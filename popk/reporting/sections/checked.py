"""Fit and data beside each other: goodness of fit, residuals, NPDE, VPC, criticism."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from popk import plots
from popk.reporting.figures import picture
from popk.reporting.material import Material, Reported
from popk.reporting.parts import Heading, Listing, Paragraph, Part, Section, marked
from popk.reporting.sections.criticised import criticism, random_effects
from popk.reporting.sections.robust import LOO_PIT_MISSING, left_out_ranks
from popk.reporting.table import MISSING, Cell, Table, number

__all__ = ["checks_section"]

_NONE = (
    "Residuals, NPDE, predictive checks and shrinkage were not computed for this page. "
    "popk.diagnose computes them, popk.report takes them as checks=; popk report does both."
)


def checks_section(material: Material) -> Section:
    """The diagnostics of each fit."""
    parts: list[Part] = []
    for one in material.reported:
        if material.several:
            parts.append(Heading(one.name))
        parts += marked(_checks(one), converged=one.verdict.converged)
    return Section("checks", "Fit and data", tuple(parts))


def _checks(one: Reported) -> Iterator[Part]:
    if one.checks is None:
        yield Paragraph(_NONE)
        yield _observed_against_predicted(one)
    else:
        yield Paragraph(_settings(one.checks), note=True)
        if notes := json.loads(one.checks.attrs["notes"]):
            yield Listing(tuple(notes))
        for name, write in (
            ("residuals", _residuals), ("npde", _npde), ("loo_pit", left_out_ranks),
            ("vpc", _vpc), ("pcvpc", _pcvpc), ("vpc_covariate", _vpc_covariate),
            ("vpc_treatment", _vpc_treatment), ("shrinkage", _shrinkage), ("criticism", criticism),
            ("random_effects", random_effects),
        ):  # fmt: skip
            if (table := one.check(name)) is not None:
                yield from write(one, table)
            elif name == "loo_pit":
                yield Paragraph(LOO_PIT_MISSING, note=True)
    yield picture(
        plots.plot_individual_fits(one.fit),
        f"{one.anchor}individual",
        "Observations and individual predictions (median and 90 % interval) of the first "
        "subjects of the data.",
    )


def _settings(checks: xr.DataTree) -> str:
    """From how much of the posterior the figures were computed."""
    replicates = {
        name: int(node.attrs["replicates"])
        for name, node in checks.children.items()
        if "replicates" in node.attrs
    }
    most = max(replicates.values(), default=0)
    return (
        f"Each check rests on up to {most:,} evenly spaced draws of the posterior (seed "
        f"{checks.attrs['seed']}), with new random effects and residual errors for what is "
        "simulated."
    )


def _observed_against_predicted(one: Reported) -> Part:
    return picture(
        plots.plot_observed_vs_predicted(one.fit),
        f"{one.anchor}observed",
        "Observed against predicted. Each observation against the posterior median of its "
        "individual prediction, with the 90 % interval of the prediction; logarithmic axes.",
    )


def _residuals(one: Reported, table: xr.Dataset) -> Iterator[Part]:
    yield picture(
        plots.plot_goodness_of_fit(table),
        f"{one.anchor}goodness-of-fit",
        "Goodness of fit. DV against PRED (mean over new patients) and against IPRED (posterior "
        "mean of the patient's own concentration), with identity (dashed) and the trend of the "
        "mean of what was quantified (solid), which should follow it. Several outputs have a row "
        "each.",
        alt=f"{table.sizes['observation']} observations against the population and the individual "
        "predictions, with the line of identity and a smooth trend.",
    )
    yield picture(
        plots.plot_residuals(table),
        f"{one.anchor}residuals",
        "Residuals. IWRES from the patient's own prediction, PWRES from the population's, "
        "decorrelated within a patient; 95 % of PWRES lie between the dotted lines where the model "
        "holds. Observations beyond a limit of quantification have none.",
        alt="IWRES against IPRED and time after dose, PWRES against PRED and time. "
        f"{_spread(table, 'IWRES')} {_spread(table, 'PWRES')}",
    )


def _spread(table: xr.Dataset, name: str) -> str:
    values = table[name]
    return f"{name}: mean {float(values.mean()):.2f}, SD {float(values.std()):.2f}."


def _npde(one: Reported, table: xr.Dataset) -> Iterator[Part]:
    verdict = str(table.attrs["verdict"])
    yield Paragraph(verdict)
    yield picture(
        plots.plot_npde(table),
        f"{one.anchor}npde",
        "Normalised prediction distribution errors (NPDE): against PRED and time, their quantiles "
        "against those of the standard normal, and their distribution. Where the model holds they "
        "are standard normal. BLQ observations take part with draws from below the limit.",
        alt=f"NPDE against predictions, time and the standard normal. {verdict}",
    )
    p_values = zip(table["test"].values.tolist(), table["p_value"].values.tolist(), strict=True)
    rows = [(Cell(f"{name}"), Cell(number(p))) for name, p in p_values]
    rows.append((Cell("the first three together"), Cell(number(float(table.attrs["p_global"])))))
    yield Table("Tests of NPDE", ("Hypothesis", "p-value"), tuple(rows), frame=_tests(table))


def _tests(table: xr.Dataset) -> pd.DataFrame:
    return table[["statistic", "p_value"]].to_dataframe().reset_index()


def _vpc(one: Reported, table: xr.Dataset) -> Iterator[Part]:
    yield from _predictive(
        one, table, "vpc",
        "Visual predictive check. Lines: 5th, 50th and 95th percentile of the observations; boxes: "
        "the 90 % bands of the same percentiles of simulated data.",
    )  # fmt: skip


def _pcvpc(one: Reported, table: xr.Dataset) -> Iterator[Part]:
    yield from _predictive(
        one, table, "pcvpc",
        "Prediction-corrected visual predictive check: as above, observations and simulations "
        "scaled alike by the median prediction of their bin, so that doses and covariates that "
        "differ do not blur it.",
    )  # fmt: skip


def _vpc_covariate(one: Reported, table: xr.Dataset) -> Iterator[Part]:
    by = str(table.attrs["stratify"])
    yield from _predictive(
        one, table, "vpc-covariate",
        f"Prediction-corrected visual predictive check by {by}: what the model says of {by} holds "
        "where the lines keep to their boxes in every panel.",
    )  # fmt: skip


def _vpc_treatment(one: Reported, table: xr.Dataset) -> Iterator[Part]:
    yield from _predictive(
        one, table, "vpc-treatment",
        "Prediction-corrected visual predictive check over time in treatment, by time after dose: "
        "a drift shows what changes with time or treatment.",
    )  # fmt: skip


def _predictive(one: Reported, table: xr.Dataset, name: str, caption: str) -> Iterator[Part]:
    verdict = str(table.attrs["verdict"])
    blq = bool(np.isfinite(table["blq_observed"].values).any())
    with_blq = " Below: the fraction below the limit of quantification, with its band."
    yield picture(
        plots.plot_vpc(table, log=_is_wide(table)),
        f"{one.anchor}{name}",
        f"{caption}{with_blq if blq else ''} {verdict}",
        alt=f"{caption} {verdict}",
    )


def _is_wide(table: xr.Dataset) -> bool:
    values = table["observed"].values
    values = values[abs(values) < float("inf")]
    return bool(len(values) and values.min() > 0 and values.max() > 20 * values.min())


def _shrinkage(one: Reported, table: xr.Dataset) -> Iterator[Part]:
    rows = tuple(
        (
            Cell(str(name)),
            Cell(_percent(table["sd"].values[k])),
            Cell(_percent(table["variance"].values[k])),
            Cell(f"{int(table['count'].values[k])}"),
        )
        for k, name in enumerate(table["quantity"].values)
    )
    headers = ("Quantity", "Shrinkage of the SD", "Shrinkage of the variance", "Of how many")
    note = (
        "eta: random effects of subjects; kappa: of occasions; epsilon: residuals. 0 % where the "
        "data say all, 100 % where they say nothing."
    )
    yield Table("Shrinkage", headers, rows, note, frame=table.to_dataframe().reset_index())


def _percent(value: float) -> str:
    return MISSING if np.isnan(value) else f"{100 * value:.0f} %"
