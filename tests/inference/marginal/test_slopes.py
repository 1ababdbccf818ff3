"""Slopes of a patient's joint density by the population parameters, against differences."""

from dataclasses import replace

import numpy as np
import pytest

from popk.individual import expected_of, find_modes, log_joint, propose
from popk.inference.marginal.cohort import Cohort
from popk.inference.marginal.slopes import Neighbourhood, joint_slopes
from popk.statistics import Combined, HalfNormal, Normal, Power

STEP = 1e-3


def cohort(fits, model, weights=(60.0, 90.0)):
    records = []
    for k, weight in enumerate(weights):
        own = {"weight": weight}
        records += [fits.dose(f"S{k}", 0.0, **own), fits.observe(f"S{k}", 7.0, 50.0, **own)]
        records += [fits.observe(f"S{k}", 20.0, 30.0, **own)]
        records += [fits.observe(f"S{k}", 80.0, 1.0, cens=1, **own)]
    return Cohort.of(model, fits.dataset(*records), seed=1, cores=1)


def models(fits):
    plain = fits.one_compartment(cv=0.3)
    weight = (Power("CL", "WT", reference=70, exponent=Normal(0.75, 0.3)),)
    return {
        "proportional": plain,
        "covariate, combined error": replace(
            plain, covariates=weight, error=Combined(HalfNormal(0.3), HalfNormal(1.0))
        ),
        "one effect": fits.one_compartment(iiv={"CL": HalfNormal(0.5)}),
    }


@pytest.mark.parametrize("name", ["proportional", "covariate, combined error", "one effect"])
def test_slopes_are_those_of_differences(fits, name):
    own = cohort(fits, models(fits)[name])
    rng = np.random.default_rng(3)
    d = len(own.coordinates.names)
    x = 0.5 * rng.standard_normal((3, d))
    around = Neighbourhood.of(own.coordinates, x)
    for patient in own.patients:
        modes = find_modes(around.here, patient)
        nodes = propose(around.here, patient, modes, each=8, rng=rng)
        found = joint_slopes(around, patient, nodes.z, nodes.parameters)
        assert found.shape == (3, 8, d)
        for k in range(d):
            ends = []
            for sign in (1, -1):
                draws = own.coordinates.draws(x + sign * STEP * np.eye(d)[k])
                expected = expected_of(draws, patient, np.zeros((3, nodes.z.shape[2])))
                ends.append(log_joint(draws, patient, expected, nodes.z)[0])
            exact = (ends[0] - ends[1]) / (2 * STEP)
            np.testing.assert_allclose(found[:, :, k], exact, rtol=1e-3, atol=1e-3)
