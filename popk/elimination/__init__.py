"""How fast a concentration falls where that depends on its level: half-lives and what is left."""

from popk.elimination.falling import half_life
from popk.elimination.people import person_on, usual_regimen

__all__ = ["half_life", "person_on", "usual_regimen"]
