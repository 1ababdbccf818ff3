"""A population model as a value: what is assumed, before and apart from any fitting."""

from popk.model.card import Card
from popk.model.pop_model import PopModel, PopulationParameter
from popk.model.refusal import ModelError

__all__ = ["Card", "ModelError", "PopModel", "PopulationParameter"]
