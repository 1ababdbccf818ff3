"""What a residual error is, and what it is told about each observation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from popk.statistics.operations import Operations
from popk.statistics.priors import Prior

__all__ = ["OBSERVED", "ErrorParameter", "Observed", "ResidualError", "Sigma"]

type Floats = NDArray[np.float64]
type Sigma = Mapping[str, Any]

# The dimension of a parameter that is measured as the observation itself is.
OBSERVED = "observed"


class Observed(NamedTuple):
    """Observations, (n_observations) each, as arrays or as symbols.

    Attributes
    ----------
    dv
        The value; the limit itself where it lies beyond it.
    lower, upper
        Limits of quantification; 1 where there is none.
    status
        As CENS: 0 quantified, 1 below the lower limit, -1 above the upper one.
    output
        Which of the model's errors describes it (its position in `ResidualError.outputs`; 0 where
        there is one for everything), -1 if none.
    assay
        Level of the assay.
    back
        How many observations before this one the same output of the same subject was last
        quantified; 0 if never.
    since
        Time since then; 1 if never.
    """

    dv: Any
    lower: Any
    upper: Any
    status: Any
    output: Any
    assay: Any
    back: Any
    since: Any

    @property
    def below(self) -> Any:
        """Which lie below the lower limit."""
        return self.status > 0

    @property
    def above(self) -> Any:
        """Which lie above the upper limit."""
        return self.status < 0

    def part(self, chosen: slice) -> Observed:
        """Those of one subject (its observations stand together)."""
        return Observed._make(column[chosen] for column in self)

    def only(self, mine: Any, ops: Operations) -> Observed:
        """The same with harmless numbers where they are not `mine`."""
        return self._replace(
            dv=ops.where(mine, self.dv, 1.0),
            lower=ops.where(mine, self.lower, 1.0),
            upper=ops.where(mine, self.upper, 1.0),
        )


@dataclass(frozen=True, slots=True)
class ErrorParameter:
    """One parameter of a residual error.

    Parameters
    ----------
    name
        Its name in the posterior.
    prior
        Its prior.
    dimension
        What it measures, in the words of `popk.units.Units.of`, or `OBSERVED`.
    meaning
        A few words for tables.
    positive
        Whether it must be above zero.
    output
        The output of the structure that it belongs to; None if there is only one.
    """

    name: str
    prior: Prior
    dimension: str
    meaning: str
    positive: bool = True
    output: str | None = None

    def suffixed(self, suffix: str, of: str, *, output: str | None = None) -> ErrorParameter:
        """The same under a longer name; ``of`` says in the meaning what it is of."""
        own = self.output if output is None else output
        named = f"{self.name}_{suffix}"
        return replace(self, name=named, meaning=f"{self.meaning}, {of}", output=own)


class ResidualError(ABC):
    """How an observation scatters around the individual prediction."""

    @property
    @abstractmethod
    def parameters(self) -> tuple[ErrorParameter, ...]:
        """Its parameters, in the order of tables."""

    @property
    def priors(self) -> tuple[tuple[str, Prior], ...]:
        """Names in the posterior and priors of the parameters."""
        return tuple((parameter.name, parameter.prior) for parameter in self.parameters)

    @property
    @abstractmethod
    def needs_positive_prediction(self) -> bool:
        """Whether the likelihood is undefined where the prediction is zero."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs that it describes; none: it describes whatever is observed."""
        return ()

    def of(self, output: str) -> ResidualError | None:
        """The error of one output, or None."""
        return self

    @property
    def assays(self) -> tuple[int, ...]:
        """Levels of the assay that it tells apart, the reference first; none if it does not."""
        return ()

    @property
    def is_gaussian(self) -> bool:
        """Whether `standardised` is normal and every quantified observation is allowed."""
        return False

    @property
    def is_sequential(self) -> bool:
        """Whether an observation depends on the one before it."""
        return False

    @property
    def leaves_out_below(self) -> bool:
        """Whether observations below their limit count for nothing (M1)."""
        return False

    @property
    def title(self) -> str:
        """A few words for tables."""
        return type(self).__name__

    @abstractmethod
    def log_likelihood(
        self, observed: Observed, prediction: Any, sigma: Sigma, ops: Operations
    ) -> Any:
        """Log likelihood of each observation, (..., n_observations).

        Minus infinity, with a slope of zero, where the prediction could not be computed (it is
        infinite or not a number), or is zero although `needs_positive_prediction`; there an
        observation below its limit is certain.

        Parameters
        ----------
        observed
            The observations.
        prediction
            Individual predictions, (..., n_observations).
        sigma
            Parameters by name, shapes broadcasting with the predictions.
        ops
            The arithmetic to use.
        """

    @abstractmethod
    def spread(self, observed: Observed, prediction: Any, sigma: Sigma, ops: Operations) -> Any:
        """SD (or scale) of an observation at the prediction, as a change of the prediction."""

    def standardised(
        self, observed: Observed, prediction: Any, sigma: Sigma, ops: Operations
    ) -> tuple[Any, Any]:
        """Residual of each quantified observation, and the logarithm of its derivative by DV.

        Standard normal where `is_gaussian`; with heavy tails in units of the scale.
        """
        raise NotImplementedError

    def correlation(self, observed: Observed, sigma: Sigma, ops: Operations) -> Any:
        """Correlation of each standardised residual with the one before; 0 if there is none."""
        return 0.0

    @abstractmethod
    def displaced(
        self, observed: Observed, prediction: Floats, sigma: Sigma, residuals: Floats
    ) -> Floats:
        """Observations that have these standardised residuals (..., n_observations)."""

    @abstractmethod
    def simulate(
        self, observed: Observed, prediction: Floats, sigma: Sigma, rng: np.random.Generator
    ) -> Floats:
        """Observations as a laboratory without a limit would report them, (..., n_observations).

        Of `observed`, what is observed when and how counts, not the values. NaN where `output` says
        that no error describes it.
        """
