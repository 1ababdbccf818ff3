"""The posterior of the population parameters, each patient's random effects integrated out."""

from popk.inference.marginal.method import Marginal

__all__ = ["Marginal"]
