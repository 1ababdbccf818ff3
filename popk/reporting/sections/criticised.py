"""Model criticism and random effects: what contradicts the model, by name."""

from __future__ import annotations

from collections.abc import Iterator

import xarray as xr

from popk import plots
from popk.reporting.criticised_table import criticism_table
from popk.reporting.figures import picture
from popk.reporting.material import Reported
from popk.reporting.parts import Paragraph, Part

__all__ = ["criticism", "random_effects"]


def criticism(one: Reported, table: xr.Dataset) -> Iterator[Part]:
    """What `popk.criticise` found: the verdict, every check, and what to try."""
    verdict = str(table.attrs["verdict"])
    yield Paragraph(verdict)
    if not table.sizes["check"]:
        return
    yield picture(
        plots.plot_criticism(table),
        f"{one.anchor}criticism",
        "Model criticism. The p-value of each check, adjusted for their number (Holm); what lies "
        "beyond the line flags the model. Averaged over the posterior, they are cautious.",
        alt=f"Adjusted p-values of {table.sizes['check']} checks. {verdict}",
    )
    yield criticism_table(table)


def random_effects(one: Reported, table: xr.Dataset) -> Iterator[Part]:
    """Distributions of the random effects, and against covariates."""
    yield picture(
        plots.plot_random_effects(table),
        f"{one.anchor}random-effects",
        "Random effects. Filled: the draws of all patients, which are distributed as the line, the "
        "population's, where the model holds; ticks: posterior means, which shrink where data are "
        "sparse.",
        alt="Distribution of each random effect over the patients beside that of the population.",
    )
    if table.sizes["covariate"]:
        yield picture(
            plots.plot_effects_against_covariates(table),
            f"{one.anchor}effects-covariates",
            "Random effects against covariates. Points: posterior means; bars: two posterior SDs "
            "to either side; in the titles the correlation of the draws, with its 90 % interval, "
            "which shrinkage does not touch.",
            alt="Each random effect against each covariate, with the correlation of the draws.",
        )
