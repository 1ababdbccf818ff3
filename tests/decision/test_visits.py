from datetime import date

import numpy as np
import pytest

from popk.decision import Visits
from popk.errors import SettingError

MONDAY = date(2026, 5, 4)


def test_weeks_within_the_limits_and_a_step_from_the_present_interval():
    visits = Visits(range(3, 9), shortest=4, step=1)
    assert visits.feasible(4.0, None).weeks.tolist() == [4, 5]
    assert visits.feasible(6.0, None).weeks.tolist() == [4, 5, 6, 7]
    unknown = visits.feasible(np.nan, None)
    assert not len(unknown.weeks)
    assert "single dose" in unknown.note


def test_weekdays_are_those_of_the_site():
    found = Visits(weekdays=("Thursday", "mon"), shortest=4, longest=5).feasible(4.0, MONDAY)
    assert [day.isoformat() for day in found.dates] == ["2026-06-01", "2026-06-04", "2026-06-08"]
    np.testing.assert_allclose(found.weeks, [4, 31 / 7, 5])


def test_a_calendar_counts_from_the_last_dose_and_may_be_cut_by_weekdays():
    days = ["2026-05-01", "2026-06-02", date(2026, 6, 8)]
    visits = Visits(calendar=days)
    assert visits.feasible(4.0, MONDAY).weeks.tolist() == [29 / 7, 5]
    assert Visits(calendar=days, weekdays=["Tue"]).feasible(4.0, MONDAY).weeks.tolist() == [29 / 7]
    none = Visits(calendar=days, longest=2).feasible(4.0, MONDAY)
    assert not len(none.weeks)
    assert "No visit is feasible" in none.note


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ((), {}, "leaves open when"),
        (((4, 5),), {"weekdays": ["Mon"]}, "leaves open when"),
        (((0, 5),), {}, "must be above zero"),
        ((), {"weekdays": ["Mon"], "longest": 8}, "shortest=4 and longest=8"),
        ((), {"weekdays": ["Funday"], "shortest": 4, "longest": 8}, "is no weekday"),
        ((), {"calendar": ["5 May"]}, "is no date"),
        (((4, 5),), {"shortest": 6, "longest": 5}, "no interval is both"),
        (((4, 5),), {"step": -1}, "step is -1"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, options, said):
    with pytest.raises(SettingError, match=said):
        Visits(*arguments, **options)
