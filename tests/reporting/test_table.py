import pytest

from popk.reporting.table import header, number, percent, span


def plain(text):
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1644, "0.164"),
        (3.0, "3"),
        (28.35, "28.4"),
        (999.4, "999"),
        (999.6, "1,000"),
        (12345.6, "12,346"),
        (-0.25, "-0.25"),
        (float("nan"), "–"),
    ],
)
def test_numbers_have_three_significant_digits(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "< 1 %"),
        (0.001, "< 1 %"),
        (0.005, "< 1 %"),
        (0.01, "1 %"),
        (0.99, "99 %"),
        (0.5, "50 %"),
        (0.904, "90 %"),
        (0.9, "90 %"),
        (0.8977, "89.8 %"),
        (0.89999, "89.999 %"),
        (0.996, "> 99 %"),
        (1.0, "> 99 %"),
        (float("nan"), "–"),
    ],
)
def test_a_probability_short_of_the_asked_one_is_not_rounded_up_to_it(value, text):
    assert plain(percent(value, bound=0.9)) == text


def test_an_asked_probability_above_99_per_cent_stays_readable():
    assert plain(percent(0.996, bound=0.999)) == "99.6 %"
    assert plain(percent(0.9985, bound=0.999)) == "99.85 %"
    assert plain(percent(0.9995, bound=0.999)) == "99.95 %"


def test_headers_carry_units_unless_dimensionless():
    assert header("CL", "L/d") == "CL (L/d)"
    assert header("omega_CL", "1") == "omega_CL"
    assert header("ID", None) == "ID"


def test_both_ends_of_an_interval():
    assert span(0.1234, 1234.5) == "0.123 to 1,234"
