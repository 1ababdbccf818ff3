"""Patients with one random effect, integrated out over a dense grid by arithmetic of its own."""

import numpy as np
from scipy import stats

from popk.population import PopulationDraws
from popk.statistics import LogNormal

DOSES = (0.0, 28.0, 56.0)
SAMPLES = {
    "sparse": ((28.0, 21.0),),
    "two": ((28.0, 26.0), (84.0, 30.0)),
    "low": ((28.0, 12.0), (84.0, 11.0)),
    "BLQ": ((28.0, 14.0), (140.0, None)),
}
LLOQ = 1.0


def records(fits, subject, samples):
    found = [
        fits.observe(subject, t, LLOQ if dv is None else dv, cens=int(dv is None))
        for t, dv in samples
    ]
    found += [fits.dose(subject, t) for t in DOSES]
    return sorted(found, key=lambda record: (record[1], record[2]))


def fit_of(fits):
    """A fit whose posterior is its narrow prior."""
    model = fits.one_compartment(iiv={"CL": LogNormal(0.35, cv=0.08)}, cv=0.06)
    data = fits.dataset(*(r for name, own in SAMPLES.items() for r in records(fits, name, own)))
    return fits.fit_of(model, data, draws=150)


def on_grid(fits, fit):
    """Weights (G) of the grid, and by patient the log density and the probability of a value below
    each observation, (n, S, G) each."""
    values = {n: v[:, None] for n, v in PopulationDraws.of(fit).values.items()}
    z = np.linspace(-6.5, 6.5, 801)
    cl = values["CL"] * np.exp(values["omega_CL"] * z)
    density, below = {}, {}
    for name, samples in SAMPLES.items():
        columns, shares = [], []
        for time, dv in samples:
            f = fits.bolus(time, cl, np.broadcast_to(values["V"], cl.shape), doses=DOSES)
            sd = np.maximum(values["sigma_prop"] * f, 1e-300)
            at = LLOQ if dv is None else dv
            cdf = stats.norm.cdf(at, f, sd)
            columns.append(
                stats.norm.logcdf(at, f, sd) if dv is None else stats.norm.logpdf(at, f, sd)
            )
            shares.append(cdf)
        density[name], below[name] = np.stack(columns), np.stack(shares)
    return stats.norm.logpdf(z) + np.log(z[1] - z[0]), density, below
