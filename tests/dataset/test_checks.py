from __future__ import annotations

import numpy as np
import pytest

from popk.dataset import DataError
from popk.dataset.carry import CARRY

UNITS = {"time": "h", "amount": "mg", "concentration": "mg/L", "WT": "kg"}


def errors(read, content, **options):
    with pytest.raises(DataError) as caught:
        read(content, **options)
    return [p for p in caught.value.problems if p.severity == "error"]


@pytest.mark.parametrize(
    ("cells", "row", "column", "said"),
    [
        ([(3, "TIME", "")], 3, "TIME", "missing"),
        ([(3, "TIME", "inf")], 3, "TIME", "not finite"),
        ([(3, "TIME", "08:30")], 3, "TIME", "not a date"),
        ([(3, "TIME", "nan ")], 3, "TIME", "missing"),
        ([(4, "TIME", 0.5)], 4, "TIME", "goes back"),
        ([(2, "EVID", "")], 2, "EVID", "missing"),
        ([(3, "EVID", 5)], 3, "EVID", "0, 1, 2, 3 or 4"),
        ([(3, "EVID", 0.5)], 3, "EVID", "0, 1, 2, 3 or 4"),
        ([(2, "AMT", "")], 2, "AMT", "missing"),
        ([(2, "AMT", 0)], 2, "AMT", "0 on a dose"),
        ([(2, "AMT", -1)], 2, "AMT", "negative"),
        ([(2, "AMT", 0), (2, "RATE", 50)], 2, "AMT", "0 on a dose"),
        ([(3, "AMT", 100)], 3, "AMT", "gives no dose"),
        ([(2, "RATE", -3)], 2, "RATE", "must be 0"),
        ([(2, "RATE", -1.5)], 2, "RATE", "must be 0"),
        ([(2, "ADDL", -1)], 2, "ADDL", "negative"),
        ([(2, "ADDL", 1.5)], 2, "ADDL", "whole number"),
        ([(2, "ADDL", "1e30")], 2, "ADDL", "whole number"),
        ([(2, "II", 0)], 2, "ADDL", "II"),
        ([(2, "II", "")], 2, "ADDL", "II"),
        ([(2, "II", -12)], 2, "II", "negative"),
        ([(2, "SS", 3)], 2, "SS", "0, 1 or 2"),
        ([(2, "SS", 1), (2, "II", 0), (2, "ADDL", 0)], 2, "SS", "II"),
        ([(2, "CMT", -1)], 2, "CMT", "whole number"),
        ([(2, "CMT", 1.5)], 2, "CMT", "whole number"),
        ([(3, "DV", "")], 3, "DV", "missing on an observation"),
        ([(3, "DV", -1)], 3, "DV", "negative"),
        ([(3, "DV", "inf")], 3, "DV", "not finite"),
        ([(3, "DV", "<0.5")], 3, "DV", "CENS 1"),
        ([(3, "DV", "1_000")], 3, "DV", "not a number"),
        ([(3, "MDV", 2)], 3, "MDV", "0 or 1"),
        ([(3, "CENS", 2)], 3, "CENS", "0, 1 or -1"),
        ([(5, "LLOQ", "")], 5, "LLOQ", "missing on a record with CENS 1"),
        ([(3, "LLOQ", 0)], 3, "LLOQ", "positive"),
        ([(3, "ID", "")], 3, "ID", "missing"),
        ([(3, "WT", "")], 3, "WT", "missing"),
        ([(3, "WT", "heavy")], 3, "WT", "Code categories"),
        ([(4, "WT", 99), (5, "WT", 99), (6, "WT", 99)], 4, "WT", "from 61 (row 3) to 99"),
        ([(2, "AMT", 0), (2, "RATE", -1)], 2, "RATE", "needs an amount"),
        ([(2, "AMT", 0), (2, "RATE", -2)], 2, "RATE", "needs an amount"),
        ([(2, "SS", 2), (2, "II", 0), (2, "ADDL", 0)], 2, "SS", "II"),
        ([(3, "SS", 1)], 3, "SS", "gives no dose"),
        ([(2, "AMT", 0), (2, "RATE", 50), (2, "SS", 1), (2, "II", 0)], 2, "ADDL", "cannot repeat"),
        ([(2, "AMT", 0), (2, "RATE", 50), (2, "SS", 1), (2, "ADDL", 0)], 2, "II", "no interval"),
        ([(2, "AMT", 0), (2, "RATE", 50), (2, "SS", 2)], 2, "AMT", "0 on a dose"),
    ],
)  # fmt: skip
def test_one_fault_gives_one_error_at_its_place(read, change, cells, row, column, said):
    found = errors(read, change(*cells))
    places = {(problem.row, problem.column) for problem in found}
    assert places == {(row, column)}
    assert said in found[0].to_text()


def test_every_change_of_a_covariate_is_named_with_the_rules_to_choose_from(read, change):
    there, back = errors(read, change((4, "WT", 99)))
    assert (there.row, there.id, there.column, back.row) == (4, "1", "WT", 5)
    assert back.message.startswith("WT changes from 99 (row 4) to 61 within the subject")
    for rule in CARRY:
        assert f'"{rule}" (' in there.remedy


def with_column(base, name, *cells):
    """The base table with 1 in every record of one more column but for the cells given."""
    header, *lines = base.splitlines()
    values = dict(cells)
    lines = [f"{line},{values.get(row, 1)}" for row, line in enumerate(lines, start=2)]
    return "\n".join([f"{header},{name}", *lines])


@pytest.mark.parametrize(
    ("name", "row", "value", "said"),
    [
        ("OCC", 4, "", "missing"),
        ("OCC", 2, 1.5, "whole number"),
        ("OCC", 2, -1, "whole number"),
        ("OCC", 2, "a", "not a number"),
        ("DVID", 3, ".", "missing on an observation"),
        ("DVID", 3, 0, "from 1 on"),
        ("DVID", 3, -1, "from 1 on"),
        ("DVID", 2, -1, "from 1 on"),
        ("DVID", 2, 1.5, "from 1 on"),
    ],
)
def test_occasions_and_outputs_are_whole_numbers(read, base, name, row, value, said):
    (error,) = errors(read, with_column(base, name, (row, value)))
    assert (error.row, error.id, error.column) == (row, "1", name)
    assert said in error.to_text()


def test_only_observations_need_an_output(read, base):
    table = read(with_column(base, "DVID", (2, ""), (6, "."), (3, 2))).table
    assert table["DVID"].values[:5].tolist() == [0, 2, 1, 1, 0]


def test_the_same_value_of_another_output_is_no_duplicate(read, base, change):
    twice = change((4, "TIME", 1), (4, "DV", 9.1))
    assert len(read(with_column(twice, "DVID")).warnings) == 1
    assert read(with_column(twice, "DVID", (4, 2))).warnings == ()


def test_an_infusion_may_last_longer_than_the_interval(read, change):
    dataset = read(change((2, "RATE", 1), (2, "SS", 1)))
    assert dataset.table["II"].values[0] < dataset.table["AMT"].values[0] / 1
    assert dataset.warnings == ()


def test_a_decimal_comma_in_quotes_is_named(read, base):
    (error,) = errors(read, base.replace("9.1,", '"9,1",'))
    assert (error.row, error.column) == (3, "DV")
    assert "decimal points" in error.remedy


def test_time_may_start_again_at_a_reset(read, base):
    again = "4,0,4,304,0,0,0,0,1,.,1,0,0.5,64\n4,2,0,.,0,0,0,0,2,8,0,0,0.5,64\n"
    dataset = read(base + again)
    assert dataset.table["TIME"].values[-2:].tolist() == [0, 2]
    assert errors(read, base + again.replace(",0,4,304", ",0,1,304"))[0].column == "TIME"


def test_a_subject_in_two_blocks_is_refused(read, base):
    (error,) = errors(read, base + "1,30,0,.,0,0,0,0,2,1,0,0,0.5,61\n")
    assert (error.row, error.id, error.column) == (22, "1", "ID")
    assert "contiguous" in error.message


def test_ids_keep_their_text_unless_all_are_whole_numbers(read, base):
    assert read(base.replace("\n1,", "\nP-1,")).subjects[0] == "P-1"
    assert read(base.replace("\n1,", "\n001,")).subjects[0] == "001"
    mixed = read(base.replace("\n1,", "\n1.0,").replace("\n4,", "\nX,"))
    assert mixed.subjects == ("1.0", "2", "3", "X")


def test_constant_infusion_at_steady_state_needs_no_amount(read, change):
    cells = [(2, "AMT", 0), (2, "RATE", 50), (2, "SS", 1), (2, "II", 0), (2, "ADDL", 0)]
    table = read(change(*cells)).table
    assert (table["AMT"].values[0], table["RATE"].values[0], table["SS"].values[0]) == (0, 50, 1)


@pytest.mark.parametrize("rate", [-1, -2])
def test_modelled_rate_and_duration_are_accepted(read, change, rate):
    assert read(change((2, "RATE", rate))).table["RATE"].values[0] == rate


def test_censored_records_hold_the_limit(read, change):
    dataset = read(change((5, "DV", 0), (10, "DV", "")))
    table = dataset.table
    assert table["DV"].values[3] == table["DV"].values[8] == 0.5
    assert dataset.warnings == ()


def test_without_a_limit_column_dv_is_the_limit(read, without, change):
    text = change((5, "DV", 0.7), text=without("LLOQ"))
    table = read(text).table
    assert table["LLOQ"].values[3] == table["DV"].values[3] == 0.7
    assert np.isnan(table["LLOQ"].values[[0, 1, 2, 4]]).all()
    for bad in (0, ""):
        (error,) = errors(read, change((5, "DV", bad), text=text))
        assert error.row == 5
        assert "LLOQ" in error.message


@pytest.mark.parametrize(
    ("cells", "row", "subject", "column", "said"),
    [
        ([(2, "DV", 5)], 2, "1", "DV", "ignored"),
        ([(2, "MDV", 0)], 2, "1", "MDV", "taken as 1"),
        ([(2, "CENS", 1)], 2, "1", "CENS", "ignored"),
        ([(3, "RATE", 5)], 3, "1", "RATE", "ignored"),
        ([(3, "ADDL", 5)], 3, "1", "ADDL", "ignored"),
        ([(3, "DV", 0.1)], 3, "1", "DV", "below the LLOQ"),
        ([(5, "DV", 2)], 5, "1", "DV", "above the LLOQ"),
        ([(3, "DV", 0)], 3, "1", "DV", "is 0 on a measured"),
        ([(4, "TIME", 1), (4, "DV", 9.1)], 4, "1", "DV", "duplicate of row 3"),
        ([(2, "EVID", 2), (2, "AMT", 0), (2, "II", 0), (2, "ADDL", 0)],
         None, "1", None, "no dose"),
        ([(r, c, v) for r in (3, 4, 5) for c, v in (("MDV", 1), ("DV", "."), ("CENS", 0))],
         None, "1", None, "no observation"),
        ([(r, "TIME", t) for r, t in ((2, 0), (3, 60), (4, 360), (5, 690), (6, 1440))],
         None, "1", "TIME", "60 times as long"),
    ],
)  # fmt: skip
def test_oddities_are_accepted_with_a_warning(read, change, cells, row, subject, column, said):
    (warning,) = read(change(*cells)).warnings
    assert (warning.severity, warning.row, warning.id, warning.column) == (
        "warning", row, subject, column,
    )  # fmt: skip
    assert said in warning.to_text()


def test_what_is_ignored_is_not_stored(read, change, base):
    ignored = change((2, "DV", 5), (2, "MDV", 0), (2, "CENS", 1), (3, "RATE", 5), (3, "II", 9))
    assert read(ignored) == read(base)


def test_samples_before_the_first_dose(read, base):
    dose, *samples = base.splitlines()[1:6]
    rest = base.splitlines()[6:]
    late = dose.replace("1,0,1,", "1,30,1,")
    after = "1,31,0,.,0,0,0,0,2,9,0,0,0.5,61"
    header = base.splitlines()[0]
    all_before = read("\n".join([header, *samples, late, *rest])).warnings
    some_before = read("\n".join([header, *samples, late, after, *rest])).warnings
    assert [w.message[:16] for w in all_before] == ["All observations"]
    assert [w.message[:14] for w in some_before] == ["3 observations"]
    assert all_before[0].id == some_before[0].id == "1"


def test_a_table_without_doses_or_observations_is_refused(read, base, change):
    doses = [line for line in base.splitlines() if "EVID" in line or line.split(",")[2] == "1"]
    (error,) = errors(read, "\n".join(doses))
    assert "no observation" in error.message
    rest = [line for line in base.splitlines() if line.split(",")[2] != "1"]
    (error,) = errors(read, "\n".join(rest))
    assert "no dose" in error.message


def test_a_single_subject_is_warned_of(read, base):
    (warning,) = read("\n".join(base.splitlines()[:6])).warnings
    assert "single subject" in warning.message


def test_nothing_but_censored_observations_is_warned_of(read, change):
    rows = [row for i in range(4) for row in (3 + 5 * i, 4 + 5 * i)]
    cells = [cell for row in rows for cell in ((row, "CENS", 1), (row, "DV", 0.5))]
    (warning,) = read(change(*cells)).warnings
    assert "Every observation is BLQ" in warning.message


@pytest.mark.parametrize("weight", [True, False])
@pytest.mark.parametrize("column", ["AMT", "DV"])
def test_a_factor_of_1000_between_dose_and_concentration_is_warned_of(read, change, weight, column):
    def thousandfold(row, value):
        return row, column, 1000 * value

    doses = [thousandfold(5 * i - 3, 300 + i) for i in (1, 2, 3, 4)]
    samples = [thousandfold(5 * i - 2, 9 + i / 10) for i in (1, 2, 3, 4)]
    units = UNITS if weight else {k: v for k, v in UNITS.items() if k != "WT"}
    dataset = read(change(*(doses if column == "AMT" else samples)), units=units)
    (warning,) = dataset.warnings
    assert "plausible" in warning.message
    assert ("L/kg" in warning.message) == weight


@pytest.mark.parametrize(("unit", "refused"), [("kg", True), ("1", False), ("mg/L", False)])
def test_only_body_measures_must_be_positive(read, change, unit, refused):
    zero = change(*((row, "WT", 0) for row in range(2, 7)))
    units = UNITS | {"WT": unit}
    if refused:
        assert {p.row for p in errors(read, zero, units=units)} == {2, 3, 4, 5, 6}
    else:
        assert read(zero, units=units).table["WT"].values[0] == 0
