import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from popk.storage import (
    StorageError,
    checksum,
    load,
    read_sealed,
    save,
    write_atomically,
    write_sealed,
)


def tree(value=1.0):
    found = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset(
                {"CL": (("chain", "draw"), np.full((2, 3), value), {"units": "L/d"})},
                coords={"chain": [0, 1], "draw": [0, 1, 2]},
            ),
            "observed_data": xr.Dataset(
                {"DV": ("observation", [1.5, np.nan])},
                coords={"ID": ("observation", ["a", "ü"])},
            ),
        }
    )
    found.attrs = {"kind": "popk fit", "seed": 1, "seconds_total": 0.5, "model": '{"name": "x"}'}
    return found


class UnwritableError(Exception):
    """Stands for a full disk, a killed process, anything."""


def test_what_is_saved_is_what_is_loaded(tmp_path):
    path = save(tree(), tmp_path / "fit.nc")
    assert path == tmp_path / "fit.nc"
    assert load(path).identical(tree())


def test_the_checksum_file_is_one_that_sha256sum_reads(tmp_path):
    path = save(tree(), tmp_path / "fit.nc")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (tmp_path / "fit.nc.sha256").read_text() == f"{digest}  fit.nc\n"
    assert checksum(path) == digest


def test_nothing_but_the_two_files_stays_in_the_folder(tmp_path):
    save(tree(), tmp_path / "fit.nc")
    save(tree(2.0), tmp_path / "fit.nc")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fit.nc", "fit.nc.sha256"]
    assert float(load(tmp_path / "fit.nc")["posterior"]["CL"].max()) == 2.0


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def broken(path: Path) -> None:
        path.write_bytes(b"half of it")
        raise UnwritableError

    with pytest.raises(UnwritableError):
        write_atomically(tmp_path / "page.html", broken)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_older_file(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("old")

    def broken(partial: Path) -> None:
        partial.write_text("new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, broken)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_a_tree_that_cannot_be_stored_leaves_nothing(tmp_path):
    bad = tree()
    bad.attrs["verdict"] = {"converged": True}
    with pytest.raises(TypeError):
        save(bad, tmp_path / "fit.nc")
    assert list(tmp_path.iterdir()) == []


def test_the_final_name_appears_only_when_the_file_is_whole(tmp_path):
    path = tmp_path / "page.html"
    seen = []

    def write(partial: Path) -> None:
        partial.write_text("first half")
        seen.append((partial.parent == tmp_path, path.exists()))

    write_atomically(path, write)
    assert seen == [(True, False)]
    assert path.read_text() == "first half"


@pytest.mark.parametrize("at", [0, 100, -1])
def test_a_damaged_file_is_refused(tmp_path, at):
    path = save(tree(), tmp_path / "fit.nc")
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"is not the file that was written: its SHA-256"):
        load(path)


def test_a_file_cut_short_is_refused(tmp_path):
    path = save(tree(), tmp_path / "fit.nc")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(StorageError, match="damaged, changed, or its writing was interrupted"):
        load(path)


def test_a_file_without_checksum_is_refused(tmp_path):
    path = save(tree(), tmp_path / "fit.nc")
    (tmp_path / "fit.nc.sha256").unlink()
    with pytest.raises(StorageError, match=r"no checksum beside it \(fit.nc.sha256\)"):
        load(path)


def test_an_empty_checksum_is_refused(tmp_path):
    path = save(tree(), tmp_path / "fit.nc")
    (tmp_path / "fit.nc.sha256").write_text("")
    with pytest.raises(StorageError, match="SHA-256 differs"):
        load(path)


def test_a_whole_file_that_is_no_netcdf_is_refused(tmp_path):
    path = write_atomically(tmp_path / "fit.nc", lambda file: file.write_text("no netCDF"))
    (tmp_path / "fit.nc.sha256").write_text(f"{checksum(path)}  fit.nc\n")
    with pytest.raises(StorageError, match="cannot be read as netCDF"):
        load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"There is no file .*fit\.nc\."):
        load(tmp_path / "fit.nc")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"The folder .*nowhere does not exist"):
        save(tree(), tmp_path / "nowhere" / "fit.nc")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(StorageError, match="is a folder; a file's name was expected"):
        save(tree(), tmp_path)


@pytest.mark.parametrize("place", [0, 40, 63, 64, 66, 71, 72])
def test_a_damaged_checksum_is_refused(tmp_path, place):
    path = save(tree(), tmp_path / "fit.nc")
    sidecar = tmp_path / "fit.nc.sha256"
    content = bytearray(sidecar.read_bytes())
    content[place] ^= 16
    sidecar.write_bytes(content)
    with pytest.raises(StorageError, match="differs from" if place < 64 else "does not read as"):
        load(path)
    sidecar.write_bytes(b"")
    with pytest.raises(StorageError, match="differs from"):
        load(path)


def test_the_digest_is_told_before_the_file_has_its_name(tmp_path):
    told = []
    path = save(
        tree(), tmp_path / "fit.nc",
        announce=lambda digest: told.append((digest, (tmp_path / "fit.nc").exists())),
    )  # fmt: skip
    assert told == [(checksum(path), False)]


def unsealed(path, fields):
    """The values, or None and what was said instead."""
    try:
        return read_sealed(path, "Do this.", fields), ""
    except StorageError as fault:
        return None, str(fault)


def test_values_under_a_seal_come_back_or_are_refused(tmp_path):
    path = tmp_path / "part.json"
    content = {"part": {"number": 3, "none": [1, 2.5, None]}, "words": "ä", "nan": float("nan")}
    write_sealed(path, content)
    found = read_sealed(path, "Do this.", content)
    assert found.pop("nan") != found.get("nan")
    assert found == {name: value for name, value in content.items() if name != "nan"}
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in (1, 8):
            changed = bytearray(whole)
            changed[place] ^= bit
            path.write_bytes(changed)
            again, refusal = unsealed(path, content)
            if again is None:
                assert "part.json is damaged" in refusal
                assert refusal.endswith("Do this.")
            else:  # between the values
                again.pop("nan")
                assert again == found
    for size in range(len(whole) - 2):
        path.write_bytes(whole[:size])
        with pytest.raises(StorageError, match="is damaged"):
            read_sealed(path, "Do this.")


def test_what_no_seal_was_written_for_is_taken_as_it_is(tmp_path):
    (tmp_path / "old.json").write_text('{"part": 1}')
    assert read_sealed(tmp_path / "old.json", "") == {"part": 1}


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np, xarray as xr
import popk.storage as storage
if sys.argv[2] == "in place":
    storage._IN_MEMORY = 0
path = Path(sys.argv[1])
small, large = (
    xr.DataTree.from_dict({"p": xr.Dataset({"x": ("a", np.arange(n) * 1.5)})}) for n in (9, 90_000)
)
storage.save(small, path)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    storage.save(large, path)
except OSError as fault:
    print(fault.errno, fault.filename)
assert storage.load(path).identical(small)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of this kind there")
@pytest.mark.parametrize("way", ["in memory", "in place"])
def test_a_file_that_may_not_grow_is_an_error_and_no_crash(tmp_path, way):
    """In a process of its own, which ends by itself: HDF5 crashed when it tried again then."""
    path = tmp_path / "fit.nc"
    words = [sys.executable, "-c", LIMITED, str(path), way]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"27 {path}\n"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["fit.nc", "fit.nc.sha256"]
