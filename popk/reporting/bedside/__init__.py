"""One patient's sheet: advice, what speaks against it, and all that it rests on, on one page."""

from popk.reporting.bedside.page import Sheet, sheet

__all__ = ["Sheet", "sheet"]
