"""Damaged results: found on loading, on resuming and by `popk verify`; no wrong number loaded."""

import shutil

import numpy as np
import pytest

from popk.cli.fitted import write_manifest
from popk.errors import PopkError
from popk.individual import Trough
from popk.inference import resume
from popk.journal import JOURNAL, note_written
from popk.monitoring import individualise
from popk.storage import StorageError, load, save, sidecar_of
from popk.verification import verify

READ = {"run.json", "model.json", "data.nc", "data.nc.sha256", "history.json", JOURNAL}


@pytest.fixture(scope="module")
def whole(finished_run, tmp_path_factory):
    """A run with advice and manifest; and its fit."""
    folder = shutil.copytree(finished_run, tmp_path_factory.mktemp("whole") / "run")
    fit = load(folder / "fit.nc")
    advice = individualise(fit, None, target=Trough(10, "mg/L"), weeks=(4, 6), seed=1)
    save(advice, folder / "advice_10.nc")
    write_manifest(fit, folder)
    for name in ("advice_10.nc", "advice_10.nc.sha256", "manifest.json"):
        note_written(folder / name)
    assert verify(folder).intact
    return folder, fit


def resumed(run):
    """The fit, or None and what was said instead."""
    try:
        return resume(run, progress=False), ""
    except PopkError as fault:
        return None, str(fault)


def damages(folder, count, kind):
    """So many damages, spread over the files in turn and over each file's bytes, by a seed."""
    rng = np.random.default_rng(20261123)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    for number in range(count):
        path = files[number % len(files)]
        size = path.stat().st_size
        yield path.relative_to(folder), kind, int(rng.integers(0, size)), 1 << int(rng.integers(8))


def harmed(folder, name, kind, place, bit):
    """What stands there after the damage."""
    content = bytearray((folder / name).read_bytes())
    if kind == "cut":
        return bytes(content[:place])
    content[place] ^= bit
    return bytes(content)


def check(whole, tmp_path, damage):
    """One damage: found by whatever reads the file, and no number is another."""
    folder, fit = whole
    name, *how = damage
    run = shutil.copytree(folder, tmp_path / "run")
    before = harmed(folder, name, *how)
    (run / name).write_bytes(before)
    assert not verify(run).intact, damage
    for file in ("fit.nc", "advice_10.nc"):
        if name.name in (file, sidecar_of(run / file).name):
            with pytest.raises(StorageError):
                load(run / file)
    again, refusal = resumed(run)
    if again is None:
        assert name.name in refusal or JOURNAL in refusal, damage
        assert name.name in READ, damage
        assert (run / name).read_bytes() == before  # nothing was repaired in silence
    else:
        assert again["posterior"].identical(fit["posterior"]), damage
        assert again["log_likelihood"].identical(fit["log_likelihood"]), damage
    shutil.rmtree(run)


def test_a_damage_of_each_file_is_found(whole, tmp_path):
    """Every other file is cut short, the others have a bit flipped."""
    kinds = [damages(whole[0], 15, kind) for kind in ("cut", "flipped")]
    for number, both in enumerate(zip(*kinds, strict=True)):
        check(whole, tmp_path, both[number % 2])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cut", "flipped"])
def test_fifty_damages_are_found(whole, tmp_path, kind):
    found = 0
    for damage in damages(whole[0], 50, kind):
        check(whole, tmp_path, damage)
        found += 1
    assert found == 50


@pytest.mark.slow
def test_damaged_chunks_of_an_unfinished_run_are_found_or_made_again(whole, tmp_path):
    """The fit and its line taken away: all numbers come from the chunks."""
    folder, fit = whole
    bare = shutil.copytree(folder, tmp_path / "bare")
    for name in ("fit.nc", "fit.nc.sha256", "verdict.json", "advice_10.nc", "advice_10.nc.sha256"):
        (bare / name).unlink()
    chunks = sorted((bare / "draws").glob("*.chunk"))
    rng = np.random.default_rng(7)
    for number in range(20):
        chunk = chunks[number % len(chunks)].relative_to(bare)
        place = int(rng.integers(0, (bare / chunk).stat().st_size))
        run = shutil.copytree(bare, tmp_path / "run")
        kind = "cut" if number < 10 else "flipped"
        (run / chunk).write_bytes(harmed(bare, chunk, kind, place, 1))
        assert not verify(run).intact
        again, refusal = resumed(run)
        if again is None:
            assert f"{chunk.name} is damaged" in refusal
        else:
            assert again["posterior"].identical(fit["posterior"])
            assert not [one for one in verify(run).files if one.state == "changed"]
        shutil.rmtree(run)
