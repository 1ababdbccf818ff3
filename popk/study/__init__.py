"""A study in one file: data, models, targets and seed, carried out end to end and repeatably."""

from popk.study.conduct import Watch, carry_out
from popk.study.file import Study, StudyError, read_study
from popk.study.ready import Ready, make_ready

__all__ = ["Ready", "Study", "StudyError", "Watch", "carry_out", "make_ready", "read_study"]
