"""diffrax (JAX): one solve per patient over the whole history, all patients at once (vmap).

The controller stops at the start and the end of each infusion. Gradients are by forward mode: six
parameters per patient make it cheaper than the adjoint here.
"""

from __future__ import annotations

import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
os.environ["JAX_PLATFORMS"] = "cpu"

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from cases import AMOUNT, SIGMA
from serve import serve

jax.config.update("jax_enable_x64", True)
SOLVERS = {"Tsit5": diffrax.Tsit5, "Dopri8": diffrax.Dopri8}


def rates(t, a, args):
    (CL, V1, Q, V2, VMAX, KM), edges, rate = args
    running = rate * (jnp.searchsorted(edges, t, side="right") % 2)
    c = a[0] / V1
    exchange = Q * (c - a[1] / V2)
    return jnp.array([running - CL * c - VMAX * c / (KM + c) - exchange, exchange])


def concentrations(theta, edges, times, form, tolerance, rate):
    """Concentrations of one patient; ``edges`` holds starts and ends of infusions in turn."""
    controller = diffrax.ClipStepSizeController(
        diffrax.PIDController(rtol=tolerance, atol=1e-3 * tolerance), jump_ts=edges
    )
    found = diffrax.diffeqsolve(
        diffrax.ODETerm(rates), SOLVERS[form](), t0=edges[0], t1=times[-1], dt0=None,
        y0=jnp.zeros(2), args=(theta, edges, rate), saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=controller, max_steps=100_000, adjoint=diffrax.ForwardMode(),
    )  # fmt: skip
    return found.ys[:, 0] / theta[1]


def load(case, options):
    if not case.duration:
        raise ValueError("boluses would need one solve per dose: only infusions are compared")
    ends = case.dose_times + case.duration
    edges = jnp.asarray(np.stack([case.dose_times, ends], axis=-1).reshape(case.patients, -1))
    times, log_y, theta = map(jnp.asarray, (case.times, np.log(case.y), case.theta))
    tolerance, rate = options["tolerance"], AMOUNT / case.duration

    def one(p, e, t, ly):
        def both(q):
            c = concentrations(q, e, t, options["form"], tolerance, rate)
            return c, c

        slopes, c = jax.jacfwd(both, has_aux=True)(p)
        residual = (ly - jnp.log(c)) / SIGMA
        return -0.5 * jnp.sum(residual**2), (residual / (SIGMA * c)) @ slopes, c

    cohort = jax.jit(jax.vmap(one))

    def check():
        _, gradient, c = cohort(theta, edges, times, log_y)
        return np.asarray(c), np.asarray(gradient)

    def repeat(count):
        for _ in range(count):
            jax.block_until_ready(cohort(theta, edges, times, log_y))

    return {"density": repeat}, check


if __name__ == "__main__":
    serve(load, "diffrax", "jax")
