"""Whether what popk wrote is still what it wrote."""

from popk.verification.entry import verify
from popk.verification.result import Checked, Verification

__all__ = ["Checked", "Verification", "verify"]
