"""Bundles that were damaged, or made to harm: refused in a sentence before anything is done."""

import hashlib
import json
import stat
import zipfile

import h5py
import numpy as np
import pytest

import popk
from popk.bundle import BundleError, open_bundle
from popk.bundle.hdf5 import check_plain
from popk.errors import PopkError
from popk.storage import StorageError


@pytest.fixture(scope="module")
def files(finished_run, tmp_path_factory):
    """The files of a bundle by name."""
    path = tmp_path_factory.mktemp("bundle") / "run.zip"
    popk.export_run(finished_run, path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def made(path, files, *more, compression=zipfile.ZIP_STORED):
    """A zip file of these, with more members (info, content)."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
        for info, content in more:
            archive.writestr(info, content)
    return path


def consistent(files, **changed):
    """The files with some changed, and the index as if they had been exported so."""
    files = {**files, **changed}
    index = json.loads(files["bundle.json"])
    for name in index["files"]:
        content = files[name]
        index["files"][name] = {
            "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content),
        }  # fmt: skip
    return {**files, "bundle.json": json.dumps(index).encode()}


def refusal(path):
    with pytest.raises(PopkError) as fault:
        open_bundle(path)
    return str(fault.value)


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil", "C:evil", "sub/../../evil", "..\\x"])
def test_names_that_lead_out_of_the_folder_are_refused(files, tmp_path, name):
    path = made(tmp_path / "b.zip", files, (zipfile.ZipInfo(name), b"x"))
    assert "which leads out of the folder. It is not opened" in refusal(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["b.zip"]


def test_other_members_links_doubles_and_what_is_missing_are_refused(files, tmp_path, recwarn):
    path = tmp_path / "b.zip"
    made(path, files, (zipfile.ZipInfo("setup.py"), b"x"))
    assert "holds 'setup.py', which is no file of a bundle" in refusal(path)
    link = zipfile.ZipInfo("model.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    made(path, {k: v for k, v in files.items() if k != "model.json"}, (link, b"/etc/passwd"))
    assert "holds model.json as a link or device" in refusal(path)
    made(path, files, (zipfile.ZipInfo("model.json"), b"{}"))
    assert "holds model.json twice" in refusal(path)
    recwarn.clear()  # zipfile warns of the name that is there twice
    for name in ("bundle.json", "model.json", "data.nc", "run.json"):
        made(path, {k: v for k, v in files.items() if k != name})
        assert f"it holds no {name}" in refusal(path)
    made(path, {k: v for k, v in files.items() if k != "journal.jsonl"})
    assert "the files in it are not those that bundle.json lists" in refusal(path)


def test_what_is_compressed_or_larger_than_it_looks_is_refused(files, tmp_path):
    path = made(tmp_path / "b.zip", files, compression=zipfile.ZIP_DEFLATED)
    assert "compressed; popk export compresses nothing" in refusal(path)
    content = bytearray(made(path, files).read_bytes())
    entry = content.index(b"PK\x01\x02")  # the first of the central directory
    for place in (20, 24):  # its two sizes
        content[entry + place : entry + place + 4] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(content)
    assert "says it holds more than its size" in refusal(path)


def test_no_zip_no_file_and_an_empty_one_are_refused(tmp_path):
    path = tmp_path / "b.zip"
    assert "There is no file" in refusal(path)
    for content in (b"", b"PK", b"nothing at all" * 100):
        path.write_bytes(content)
        assert "is no bundle of popk, or it is damaged" in refusal(path)


def test_damage_anywhere_is_a_sentence_or_changes_nothing(files, tmp_path):
    """What no field of a zip file that popk reads depends on may change."""
    path = made(tmp_path / "b.zip", files)
    content, right = path.read_bytes(), open_bundle(path)
    for place in range(0, len(content), len(content) // 120):
        changed = bytearray(content)
        changed[place] ^= 16
        path.write_bytes(changed)
        try:
            found = open_bundle(path)
        except PopkError:
            continue
        assert (found.model, found.seed, found.method) == (right.model, right.seed, right.method)
        assert found.dataset.fingerprint == right.dataset.fingerprint
        assert found.index == right.index
    for size in range(0, len(content), len(content) // 40):
        path.write_bytes(content[:size])
        refusal(path)


def test_files_that_are_not_those_of_the_index_are_refused(files, tmp_path):
    for name in ("model.json", "data.nc", "run.json", "verdict.json", "journal.jsonl"):
        content = bytearray(files[name])
        content[len(content) // 2] ^= 1
        path = made(tmp_path / "b.zip", {**files, name: bytes(content)})
        assert f"{name} is not the file that was exported" in refusal(path)


def test_a_consistent_bundle_of_another_model_or_seed_is_refused(files, tmp_path):
    path = tmp_path / "b.zip"
    other = files["model.json"].replace(b"0.3", b"0.4")
    made(path, consistent(files, **{"model.json": other}))
    assert "model.json is not of the run: its hash is not in run.json" in refusal(path)
    other = files["run.json"].replace(b'"seed": 5', b'"seed": 6')
    made(path, consistent(files, **{"run.json": other}))
    assert "method and seed in bundle.json are not those in run.json" in refusal(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "no JSON"),
        (b"\xff", "model.json is damaged"),
        (b'{"structure": ' + b'[' * 100_000 + b']' * 100_000 + b'}', "deeper than any model"),
        (b'{"structure": {"type": "os.system"}, "typical": {}, "iiv": {}, "covariates": [], '
         b'"error": {"type": "eval"}, "units": {}, "name": "x", "notes": []}',
         "it uses os.system, which is not known here"),
        (b'{"structure": {"type": "Custom", "name": "__import__(\'os\')"}, "typical": {}, '
         b'"iiv": {}, "covariates": [], "error": null, "units": {}, "name": "x", "notes": []}',
         "Custom needs"),
    ],
)  # fmt: skip
def test_a_model_is_read_as_values_and_never_run(files, tmp_path, content, words):
    path = made(tmp_path / "b.zip", consistent(files, **{"model.json": content}))
    assert words in refusal(path)


@pytest.mark.parametrize("method", [
    {"name": "Gibbs"}, {"name": "Marginal", "draws": "many"}, {"name": "Marginal", "speed": 2},
    {"name": "Marginal", "draws": None}, "Marginal", None,
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(files, tmp_path, method):
    index, run = json.loads(files["bundle.json"]), json.loads(files["run.json"])
    index["method"] = run["method"] = method
    changed = {"run.json": json.dumps(run).encode(), "bundle.json": json.dumps(index).encode()}
    refusal(made(tmp_path / "b.zip", consistent(files, **changed)))


def test_an_index_that_lacks_what_is_compared_is_refused(files, tmp_path):
    whole = json.loads(files["bundle.json"])
    cases = [
        {**whole, "means": []}, {**whole, "means": [{"name": "CL"}, 3]}, {**whole, "expected": 1},
        {**whole, "versions": None}, {**whole, "kind": "other"}, {**whole, "format": 99},
        {**whole, "files": None}, [whole], {**whole, "means": [{"name": "CL", "mean": "x"}]},
    ]  # fmt: skip
    for index in cases:
        changed = {**files, "bundle.json": json.dumps(index).encode()}
        refusal(made(tmp_path / "b.zip", changed))


def test_data_that_refer_elsewhere_or_unfold_are_not_read(tmp_path):
    path = tmp_path / "data.nc"
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = [1.0]
    harmful = {
        "refers to another place": lambda file: file.__setitem__(
            "x", h5py.ExternalLink("secret.h5", "/x")
        ),
        "refers to another": lambda file: file.__setitem__("x", h5py.SoftLink("/y")),
        "keeps 'x' in another file": lambda file: file.create_dataset(
            "x", (1,), "f8", external=[("secret.h5", 0, 8)]
        ),
        "unfolds to": lambda file: file.create_dataset(
            "x", (1 << 30,), "f8", chunks=(1 << 20,), compression="gzip"
        ),
        "deeper than any": lambda file: file.create_group("/".join("abcdefghijkl")),
    }
    for words, make in harmful.items():
        with h5py.File(path, "w") as file:
            make(file)
        with pytest.raises(StorageError, match=words):
            check_plain(path, "data.nc")
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(3.0)
    check_plain(path, "data.nc")
    path.write_bytes(b"nothing")
    with pytest.raises(StorageError, match="cannot be read as netCDF"):
        check_plain(path, "data.nc")


def test_data_that_are_none_are_refused(files, tmp_path):
    with h5py.File(tmp_path / "x.nc", "w") as file:
        file["x"] = np.arange(3.0)
    changed = {"data.nc": (tmp_path / "x.nc").read_bytes()}
    refusal(made(tmp_path / "b.zip", consistent(files, **changed)))


def test_bundle_errors_are_storage_errors():
    assert issubclass(BundleError, StorageError)
