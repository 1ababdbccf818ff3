"""Chunks on disk: whole or not there, and known when damaged."""

import errno
import os

import numpy as np
import pytest

from popk.inference.runs.chunks import find_chunks, read_chunk, read_series, write_chunk
from popk.inference.runs.interruption import explained
from popk.inference.runs.store import FolderStore
from popk.storage import StorageError


def written(folder, count=3, series="chain-0"):
    return [write_chunk(folder, series, k, {"x": np.full(4, float(k))}) for k in range(count)]


def damage(path, place=100):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_series_comes_back_in_order(tmp_path):
    paths = written(tmp_path)
    written(tmp_path, 1, "chain-01")
    assert find_chunks(tmp_path, "chain-0") == paths
    found, said = read_series(tmp_path, "chain-0")
    assert [own["x"][0] for own in found] == [0.0, 1.0, 2.0]
    assert said == ""
    assert find_chunks(tmp_path, "chain") == []


@pytest.mark.parametrize("place", [0, 40, 100])
def test_one_bit_that_changed_is_noticed(tmp_path, place):
    path = written(tmp_path, 1)[0]
    damage(path, place)
    with pytest.raises(StorageError, match="is damaged: its SHA-256 is not the one in its name"):
        read_chunk(path)


def test_a_damaged_chunk_before_others_is_refused_with_what_to_do(tmp_path):
    paths = written(tmp_path)
    damage(paths[1])
    with pytest.raises(StorageError) as refusal:
        read_series(tmp_path, "chain-0")
    for words in (str(paths[1]), "damaged", f"({paths[2].name})", "popk resume", "copy"):
        assert words in str(refusal.value)
    assert paths[1].exists()


def test_a_damaged_last_chunk_is_left_out_and_that_is_said(tmp_path):
    paths = written(tmp_path)
    damage(paths[2])
    said = []
    store = FolderStore(tmp_path, seconds=1.0, say=said.append, note=lambda _: None)
    assert len(store.chunks("chain-0")) == 2
    assert len(said) == 1
    assert str(paths[2]) in said[0]
    assert "left out" in said[0]
    assert paths[2].with_name(f"{paths[2].name}.damaged").exists()
    store.append("chain-0", {"x": np.full(4, 7.0)})
    assert [own["x"][0] for own in read_series(tmp_path, "chain-0")[0]] == [0.0, 1.0, 7.0]


def test_a_missing_chunk_is_refused(tmp_path):
    paths = written(tmp_path)
    paths[0].unlink()
    with pytest.raises(StorageError, match="Chunk 0 of chain-0 is missing"):
        find_chunks(tmp_path, "chain-0")


def test_a_stage_is_made_once_and_read_thereafter(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return {"at": np.arange(3.0)[::-1]}

    for _ in range(2):
        store = FolderStore(tmp_path, seconds=1.0, say=print, note=print)
        np.testing.assert_array_equal(store.kept("start", make)["at"], [2.0, 1.0, 0.0])
    assert calls == [1]
    damage(next(tmp_path.glob("start-*")))
    with pytest.raises(StorageError, match="remove it: popk resume then makes it again"):
        store.kept("start", make)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")  # noqa: PTH110
def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(tmp_path):
    before = written(tmp_path, 1)
    number = 1
    digest = write_chunk(tmp_path, "other", number, {"x": np.ones(3)}).name.removeprefix("other-")
    target = f"chain-0-{digest}"
    (tmp_path / f".{target}.{os.getpid()}.partial").symlink_to("/dev/full")
    with pytest.raises(StorageError) as refusal, explained(tmp_path):
        write_chunk(tmp_path, "chain-0", number, {"x": np.ones(3)})
    assert f"The disk that holds {tmp_path} is full" in str(refusal.value)
    assert f"popk resume {tmp_path}" in str(refusal.value)
    assert refusal.value.__cause__.errno == errno.ENOSPC
    assert find_chunks(tmp_path, "chain-0") == before
    assert not list(tmp_path.glob(".*"))
