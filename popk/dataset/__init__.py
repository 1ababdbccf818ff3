"""Event tables: reading, checking, and the immutable :class:`Dataset`."""

from popk.dataset.clock import Dates
from popk.dataset.dataset import Dataset
from popk.dataset.layout import Layout
from popk.dataset.parameter_rows import ParameterRows
from popk.dataset.problems import DataError, Problem, Problems
from popk.dataset.reader import read_dataset

__all__ = [
    "DataError",
    "Dataset",
    "Dates",
    "Layout",
    "ParameterRows",
    "Problem",
    "Problems",
    "read_dataset",
]
