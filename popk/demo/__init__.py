"""The demonstration: real antibody data, and from a cohort's troughs to intervals."""

from popk.demo.run import run

__all__ = ["run"]
