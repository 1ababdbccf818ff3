"""What speaks against trusting a patient's advice, and advice that heeds it."""

from popk.monitoring.advice import decide, individualise
from popk.monitoring.finding import (
    NAMES,
    SEVERITIES,
    Finding,
    MonitoringError,
    findings,
    from_json,
    to_json,
)

__all__ = [
    "NAMES",
    "SEVERITIES",
    "Finding",
    "MonitoringError",
    "decide",
    "findings",
    "from_json",
    "individualise",
    "to_json",
]
