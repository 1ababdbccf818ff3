"""Advice for a table: bad patients, interruptions, the same numbers however it is computed."""

import json
import shutil
import signal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import popk
from popk.batch import folder as folders
from popk.batch import table as tables
from popk.dataset import read_dataset
from popk.errors import SettingError
from popk.individual import Trough, individualise, prepare
from popk.monitoring import individualise as checked
from popk.storage import StorageError
from popk.verification import verify


@pytest.fixture(scope="module")
def batch(fit, table, options, tmp_path_factory):
    out = tmp_path_factory.mktemp("batch") / "out"
    return popk.individualise_table(fit, table, out, chunk=4, **options)


def test_each_patient_is_advised_as_by_individualise(fits, fit, table, options, batch):
    given = {name: options[name] for name in ("target", "weeks", "samples")}
    data = read_dataset(table, units=fits.UNITS)
    decision = individualise(fit, data, **given)["decision"].to_dataset()
    found = batch.advice()
    assert found["ID"].tolist() == list(data.subjects)
    for name in ("probability", "mcse", "trough_low", "trough_median", "trough_high"):
        columns = [f"{name}_{week}wk" for week in (4, 6, 8)]
        # One thread or several: sums of products differ in their last digits.
        np.testing.assert_allclose(found[columns].values, decision[name].values, rtol=1e-9)
    for name in ("longest", "khat", "ess", "reliable", "last_dose_time"):
        np.testing.assert_allclose(found[name].values, decision[name].values, rtol=1e-9)
    assert found.set_index("ID").loc["C1", "source"] == "cohort"
    assert (batch.patients, batch.advised, batch.failed, batch.found) == (9, 9, 0, 0)
    assert len(batch.errors()) == 0


@pytest.mark.parametrize("way", [{"chunk": 1}, {"chunk": 100}])
def test_the_numbers_do_not_depend_on_the_chunks(fit, table, options, batch, tmp_path, way):
    other = popk.individualise_table(fit, table, tmp_path / "out", **options | way)
    pd.testing.assert_frame_equal(other.advice(), batch.advice(), check_exact=True)


def test_one_bad_patient_stops_no_other(fits, fit, records, options, batch, tmp_path):
    bad = records(
        *fits.history("B1"),
        fits.observe("B1", 90.0, -2.0),  # a negative concentration
        fits.observe("B2", 1.0, 12.0),  # no dose
        *fits.history("B3", weight=61.0)[:3],
        fits.observe("B3", 200.0, 12.0, weight=66.0),  # a weight that changes
        *fits.history("Z"),
        *fits.history("B1")[:1],  # apart from the others of B1
    )
    path = tmp_path / "patients.parquet"
    bad.to_parquet(path)
    found = popk.individualise_table(fit, path, tmp_path / "out", chunk=20, **options)
    good = found.advice()
    assert good["ID"].tolist() == [*batch.advice()["ID"], "Z"]
    same = good.drop(columns=["first_row", "last_row"])[:9]
    before = batch.advice().drop(columns=["first_row", "last_row"])
    pd.testing.assert_frame_equal(same, before, check_exact=True)
    errors = found.errors().set_index("ID")
    assert set(errors.index) == {"B1", "B2", "B3"}
    apart = errors.loc["B1", "sentence"].iloc[0]
    last = len(bad)
    assert f"and {last}. Put all records" in apart
    assert "There is no dose" in errors.loc["B2", "sentence"]
    assert errors.loc["B3", "column"] == "WT"
    assert errors.loc["B3", "row"] == last - 1 - 6
    assert set(errors["kind"]) == {"data"}
    assert found.failed == 4
    assert "could not be advised" in found.words


def test_a_fault_of_the_computation_is_one_patients(fit, table, options, tmp_path, monkeypatch):
    real = tables.advised.__globals__["unchecked"]

    def failing(prepared, dataset, **given):
        if "N3" in dataset.subjects:
            raise np.linalg.LinAlgError("singular matrix")
        return real(prepared, dataset, **given)

    monkeypatch.setitem(tables.advised.__globals__, "unchecked", failing)
    found = popk.individualise_table(fit, table, tmp_path / "out", chunk=4, **options)
    assert found.advised == 8
    (error,) = found.errors().itertuples()
    assert (error.ID, error.kind) == ("N3", "computation")
    assert "LinAlgError: singular matrix" in error.sentence


def test_it_goes_on_where_it_was(fit, table, options, batch, tmp_path):
    out = tmp_path / "out"

    def interrupted(done, total):
        assert total == 9
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        popk.individualise_table(fit, table, out, chunk=2, progress=interrupted, **options)
    assert len(list((out / "done").iterdir())) == 2
    first = out / "advice" / "part-000000.parquet"
    first.write_bytes(first.read_bytes()[:-9] + b"?" * 9)  # damaged: it is made again
    kept = (out / "advice" / "part-000001.parquet").stat().st_mtime_ns
    seen = []
    told = lambda done, total: seen.append(done)  # noqa: E731
    found = popk.individualise_table(fit, table, out, chunk=2, progress=told, **options)
    assert (found.found, seen[0], seen[-1]) == (2, 2, 9)
    assert (out / "advice" / "part-000001.parquet").stat().st_mtime_ns == kept
    pd.testing.assert_frame_equal(found.advice(), batch.advice(), check_exact=True)
    again = popk.individualise_table(fit, table, out, chunk=2, **options)
    assert again.found == again.advised == 9


def test_a_batch_that_was_killed_as_it_began_goes_on(fit, table, options, batch, tmp_path):
    out = tmp_path / "out"
    for name in ("advice", "errors"):
        (out / name).mkdir(parents=True)
    (out / ".manifest.json.123.partial").write_text('{"kind"')
    found = popk.individualise_table(fit, table, out, chunk=4, **options)
    pd.testing.assert_frame_equal(found.advice(), batch.advice(), check_exact=True)


def test_a_batch_begun_by_another_process_meanwhile_is_not_begun_again(
    fit, table, options, tmp_path, monkeypatch
):
    """The other one comes between the first look at the folder and the lock."""
    real, out = folders.locked, tmp_path / "out"

    def late(path):
        monkeypatch.setattr(folders, "locked", real)
        popk.individualise_table(fit, table, out, chunk=4, seed=2, **options)
        return real(path)

    monkeypatch.setattr(folders, "locked", late)
    with pytest.raises(StorageError, match=r"differs in the seed\."):
        popk.individualise_table(fit, table, out, chunk=4, **options)


def test_sigterm_ends_it_in_order_and_it_goes_on(fit, table, options, batch, tmp_path):
    out = tmp_path / "out"

    def terminated(done, total):
        if done >= 4:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as end:
        popk.individualise_table(fit, table, out, chunk=2, progress=terminated, **options)
    assert end.value.code == 143
    found = popk.individualise_table(fit, table, out, chunk=2, **options)
    assert found.found == 4
    pd.testing.assert_frame_equal(found.advice(), batch.advice(), check_exact=True)


def test_a_second_process_in_the_folder_is_refused(fit, table, options, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with folders.locked(out / "lock"), pytest.raises(StorageError, match="is in use by process"):
        popk.individualise_table(fit, table, out, **options)


def test_another_question_or_table_is_refused(fit, records, options, batch, tmp_path):
    path, out = tmp_path / "patients.csv", tmp_path / "out"
    records().to_csv(path, index=False)
    popk.individualise_table(fit, path, out, chunk=4, **options)
    with pytest.raises(StorageError, match=r"differs in the probability, the seed\."):
        popk.individualise_table(fit, path, out, chunk=4, seed=2, probability=0.8, **options)
    changed = records()
    changed.loc[2, "DV"] = 19.0
    changed.to_csv(path, index=False)
    with pytest.raises(StorageError, match=r"part 0 \(ID N0 to N3, rows 2 to 21\)"):
        popk.individualise_table(fit, path, out, chunk=4, **options)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(StorageError, match="holds other files"):
        popk.individualise_table(fit, path, tmp_path / "mine", **options)


def test_files_say_what_they_are(batch):
    schema = pq.read_schema(batch.folder / "advice" / "part-000000.parquet")
    said = {name.decode(): value.decode() for name, value in schema.metadata.items()}
    assert "not checked" in said["checks"]
    assert "it does not prescribe" in said["statement"]
    assert said["fit_model_hash"]
    assert schema.field("trough_low_4wk").metadata[b"units"] == b"mg/L"
    manifest = json.loads((batch.folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["result"]["advised"] == 9
    assert manifest["columns"]["advice"]["longest"]["units"] == "wk"
    assert (batch.advice()["checked"] == 0).all()
    whole = pd.read_parquet(batch.folder / "advice")
    assert whole["ID"].tolist() == batch.advice()["ID"].tolist()


def test_csv_holds_the_same(fit, table, options, batch, tmp_path):
    found = popk.individualise_table(fit, table, tmp_path / "o", form="csv", chunk=4, **options)
    pd.testing.assert_frame_equal(found.advice(), batch.advice(), rtol=1e-12)
    assert found.errors().empty


def test_with_checks_unsafe_advice_is_withheld(fits, fit, options, tmp_path):
    frame = pd.DataFrame(
        [*fits.history("safe", (20.0, 21.0)), *fits.history("units", (0.020, 0.021))],
        columns=fits.COLUMNS,
    )
    path = tmp_path / "patients.csv"
    frame.to_csv(path, index=False)
    given = options | {"checks": True, "sustained": True}
    found = popk.individualise_table(prepare(fit), path, tmp_path / "out", **given).advice()
    assert found["withheld"].tolist() == [0, 1]
    assert np.isnan(found["longest"][1])
    assert np.isnan(found["longest_sustained"][1])
    assert "withheld, units: " in found["findings"][1]
    asked = {name: options[name] for name in ("target", "weeks", "samples")}
    tree = checked(fit, read_dataset(path, units=fits.UNITS), **asked)
    expected = tree["decision"].to_dataset()["probability_sustained"].values
    columns = [f"probability_sustained_{week}wk" for week in (4, 6, 8)]
    np.testing.assert_array_equal(found[columns].values, expected)


def test_a_chunk_that_costs_its_processes_is_done_patient_by_patient(
    fit, table, options, batch, tmp_path, monkeypatch
):
    """Only the patient who ends processes is lost; the others' numbers are those of one process."""
    script = (
        "import os, signal\n"
        "from popk.batch.advising import advised\n"
        "def deadly(context, chunk):\n"
        "    if any(one.id == 'N2' for one in chunk.patients):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return advised(context, chunk)\n"
    )
    (tmp_path / "deadly_advice.py").write_text(script, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import deadly_advice

    monkeypatch.setattr(tables, "advised", deadly_advice.deadly)
    monkeypatch.setattr(tables, "_TRIES", 1)
    given = options | {"cores": 2, "chunk": 100}
    found = popk.individualise_table(fit, table, tmp_path / "out", **given)
    (error,) = found.errors().itertuples()
    assert (error.ID, error.kind, error.row) == ("N2", "process", 12)
    assert "signal 9" in error.sentence
    rest = batch.advice()
    rest = rest[rest["ID"] != "N2"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found.advice(), rest, check_exact=True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"form": "xlsx"}, "'parquet' or 'csv'"),
        ({"probability": 90}, "between 0 and 1"),
        ({"missing": {"WT": "median"}}, "read apart from each other"),
        ({"chunk": 0}, "1 or more"),
        ({"target": Trough(popk.Uniform(2, 10), "mg/L")}, "a number is needed"),
    ],
)
def test_what_makes_no_sense_is_refused(fit, table, options, tmp_path, given, said):
    with pytest.raises(SettingError, match=said):
        popk.individualise_table(fit, table, tmp_path / "out", **options | given)
    assert not (tmp_path / "out").exists()


def test_checks_need_the_fits_data(fit, table, options, tmp_path):
    given = options | {"checks": True}
    with pytest.raises(SettingError, match="own=False"):
        popk.individualise_table(prepare(fit, own=False), table, tmp_path / "out", **given)


def test_a_file_that_is_not_there(fit, options, tmp_path):
    with pytest.raises(SettingError, match="does not exist"):
        popk.individualise_table(fit, tmp_path / "no.csv", tmp_path / "out", **options)


def test_every_part_is_verified_and_a_damaged_one_made_again(fit, table, options, batch, tmp_path):
    out = shutil.copytree(batch.folder, tmp_path / "out")
    found = verify(out)
    assert found.intact
    assert found.kind == "batch"
    assert verify(out, expect=found.head).intact
    for path in sorted(path for path in out.rglob("*.*") if path.is_file()):
        content = path.read_bytes()
        for changed in (content[:-2], content[:9] + b"\x01" + content[10:], b""):
            path.write_bytes(changed)
            assert not verify(out).intact, path
        path.write_bytes(content)
    done = sorted((out / "done").glob("*.json"))[0]
    content = done.read_bytes()
    done.write_bytes(content.replace(b'"withheld": 0', b'"withheld": 1'))
    with pytest.raises(StorageError, match="Remove it: the same command then makes that part"):
        popk.individualise_table(fit, table, out, chunk=4, **options)
    done.unlink()
    assert "Parts are not done" in verify(out).notes[0]
    advice = popk.individualise_table(fit, table, out, chunk=4, **options).advice()
    pd.testing.assert_frame_equal(advice, batch.advice())
    assert verify(out).intact
    (out / "notes.txt").write_text("mine")
    assert verify(out).intact
