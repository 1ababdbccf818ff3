"""Results as a page and as tables: this package renders what others computed."""

from popk.reporting.answers import answer_table
from popk.reporting.bedside import Sheet, sheet
from popk.reporting.calibration import calibration_table, reliability_table
from popk.reporting.comparison import comparison_table
from popk.reporting.criticised_table import criticism_table
from popk.reporting.described import description_tables
from popk.reporting.findings import findings_table
from popk.reporting.forecasts import decision_table, forecast_table
from popk.reporting.intervals import interval_counts, interval_frame, interval_table
from popk.reporting.page import Page, ReportError, report
from popk.reporting.parameters import parameter_frame, parameter_table
from popk.reporting.rendering import great_table
from popk.reporting.robustness import (
    influence_table,
    interval_shift_frame,
    interval_shift_table,
    moved_interval_table,
    sensitivity_table,
)
from popk.reporting.shown import ShowError, Shown, show
from popk.reporting.table import Cell, Table
from popk.reporting.text import rich_table, table_text
from popk.reporting.trials import trial_table

__all__ = [
    "Cell",
    "Page",
    "ReportError",
    "Sheet",
    "ShowError",
    "Shown",
    "Table",
    "answer_table",
    "calibration_table",
    "comparison_table",
    "criticism_table",
    "decision_table",
    "description_tables",
    "findings_table",
    "forecast_table",
    "great_table",
    "influence_table",
    "interval_counts",
    "interval_frame",
    "interval_shift_frame",
    "interval_shift_table",
    "interval_table",
    "moved_interval_table",
    "parameter_frame",
    "parameter_table",
    "reliability_table",
    "report",
    "rich_table",
    "sensitivity_table",
    "sheet",
    "show",
    "table_text",
    "trial_table",
]
