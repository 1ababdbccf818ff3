"""Results as a page and as tables: this package renders what others computed."""

from popk.reporting.calibration import calibration_table, reliability_table
from popk.reporting.comparison import comparison_table
from popk.reporting.forecasts import decision_table, forecast_table
from popk.reporting.intervals import interval_frame, interval_table
from popk.reporting.page import Page, ReportError, report
from popk.reporting.parameters import parameter_frame, parameter_table
from popk.reporting.rendering import great_table
from popk.reporting.table import Cell, Table

__all__ = [
    "Cell",
    "Page",
    "ReportError",
    "Table",
    "calibration_table",
    "comparison_table",
    "decision_table",
    "forecast_table",
    "great_table",
    "interval_frame",
    "interval_table",
    "parameter_frame",
    "parameter_table",
    "reliability_table",
    "report",
]
