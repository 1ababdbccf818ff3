"""Results as a page and as tables: this package renders what others computed."""

from popk.reporting.comparison import comparison_table
from popk.reporting.intervals import interval_frame, interval_table
from popk.reporting.page import ReportError, report
from popk.reporting.parameters import parameter_table
from popk.reporting.table import Cell, Table

__all__ = [
    "Cell",
    "ReportError",
    "Table",
    "comparison_table",
    "interval_frame",
    "interval_table",
    "parameter_table",
    "report",
]
