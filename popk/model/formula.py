"""One line of a model's equations."""

from __future__ import annotations

from dataclasses import dataclass

from popk.model.notation import Expression, Symbol, latex, text

__all__ = ["Formula", "Section", "plain_latex", "population"]


@dataclass(frozen=True, slots=True)
class Formula:
    """What stands on the left, what it is (or how it is distributed, ``~``), and where.

    ``rate`` says that the left is a rate of change by the time.
    """

    left: Expression
    right: Expression
    relation: str = "="
    where: str = ""
    rate: bool = False

    @property
    def text(self) -> str:
        """As plain text."""
        left = text(self.left)
        left = f"d({left})/dt" if self.rate else left
        where = f"   ({self.where})" if self.where else ""
        return f"{left} {self.relation} {text(self.right)}{where}"

    @property
    def latex(self) -> tuple[str, str]:
        """As LaTeX: the left-hand side, and the rest from the sign on."""
        left = latex(self.left)
        left = rf"\frac{{d {left}}}{{dt}}" if self.rate else left
        where = rf" \quad \text{{({plain_latex(self.where)})}}" if self.where else ""
        sign = r"\sim" if self.relation == "~" else "="
        return left, f"{sign} {latex(self.right)}{where}"


@dataclass(frozen=True, slots=True)
class Section:
    """Lines under a title, and sentences about them."""

    title: str
    formulas: tuple[Formula, ...]
    notes: tuple[str, ...] = ()


def population(name: str) -> Symbol:
    """A population parameter or a random effect: ``omega_CL``, ``eta_CL``."""
    return Symbol(name, "population")


def plain_latex(words: str) -> str:
    """Words for LaTeX's text mode."""
    words = words.replace("^", r"\^{}")
    for character in "&%$#_":
        words = words.replace(character, f"\\{character}")
    return words.replace("<", r"\textless ").replace(">", r"\textgreater ")
