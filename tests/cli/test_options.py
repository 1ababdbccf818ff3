import pytest

from popk.cli.options import CommandError, parse_weeks


@pytest.mark.parametrize(
    ("text", "weeks"),
    [
        ("4:8", [4, 5, 6, 7, 8]),
        ("6:6", [6]),
        ("4,5,6", [4, 5, 6]),
        ("4, 4.5", [4, 4.5]),
        ("8", [8]),
    ],
)
def test_weeks_include_both_ends(text, weeks):
    assert parse_weeks(text) == weeks


@pytest.mark.parametrize(
    "text", ["", "8:4", "0:3", "4:", "4:5:6", "5,4", "4,4", "-1", "nan", "inf"]
)
def test_weeks_that_make_no_sense_are_refused(text):
    with pytest.raises(CommandError, match="expected 4:8"):
        parse_weeks(text)
