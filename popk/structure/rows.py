"""Running a closed-form kernel, written for one subject, over rows of parameters."""

from __future__ import annotations

from typing import Any

subject_kernel: Any  # bound by `popk.structure.jit.specialise`


def linear_rows(
    theta: Any,
    subject: Any,
    offset: Any,
    first: Any,
    time: Any,
    kind: Any,
    amount: Any,
    duration: Any,
    interval: Any,
    repeats: Any,
    compartment: Any,
    output: Any,
    concentration: Any,
    gradient: Any,
    with_gradient: bool,
) -> None:
    """See `popk.structure.base.Structure.kernel`."""
    for r in range(len(theta)):
        i, o = subject[r], offset[r]
        subject_kernel(
            theta[r],
            time,
            kind,
            amount,
            duration,
            interval,
            repeats,
            compartment,
            output,
            first[i],
            first[i + 1],
            concentration[o:],
            gradient[o:],
            with_gradient,
        )
