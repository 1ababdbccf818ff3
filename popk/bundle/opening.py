"""Opening a bundle that others made: nothing in it is believed before it was checked."""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from popk.bundle.contents import FORMAT, INDEX, NAMES, README
from popk.bundle.hdf5 import check_plain
from popk.dataset import Dataset
from popk.digests import digest_of_bytes
from popk.errors import PopkError, SettingError
from popk.inference.method import Method, from_values
from popk.model import PopModel
from popk.storage import StorageError, checksum, load, sidecar_line, sidecar_of

__all__ = ["Bundle", "BundleError", "open_bundle"]

_MOST = 2 << 30  # bytes of a bundle: far more than data take
_NEEDED = (INDEX, "run.json", "model.json", "data.nc", "verdict.json")
_LEAST = 16  # digits of a hash


class BundleError(StorageError):
    """A bundle that is not used; the text says why."""


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are what its index says, and what is to be sampled.

    ``index`` is `bundle.json`, ``sha256`` that of the whole file.
    """

    path: Path
    sha256: str
    index: Mapping[str, Any]
    model: PopModel
    dataset: Dataset
    method: Method
    seed: int

    @property
    def words(self) -> str:
        """What is in it, in a sentence."""
        return (
            f"{self.path.name} (SHA-256 {self.sha256}) is whole: {self.model.name}, "
            f"{self.dataset.n_subjects} patients, {type(self.method).__name__}, seed {self.seed}."
        )


def open_bundle(path: str | os.PathLike[str], *, expect: str | None = None) -> Bundle:
    """Check a bundle and read what is to be sampled. Nothing is written, no code of it is run.

    Parameters
    ----------
    path
        A file of `popk.export_run`.
    expect
        Its SHA-256 as its maker says, or the first 16 digits or more.

    Raises
    ------
    BundleError
        When it is no bundle, holds what no bundle holds, or its files are not those of its index.
    ModelError, DataError, SettingError
        When model, data or settings cannot be used by this version of popk.
    """
    path = Path(path)
    if not path.is_file():
        raise BundleError(f"There is no file {path}.")
    if path.stat().st_size > _MOST:
        raise BundleError(f"{path} has {path.stat().st_size} bytes; a bundle has {_MOST} at most.")
    digest = checksum(path)
    if expect is not None:
        _check_expected(path, digest, expect)
    files = _members(path)
    index = _index(path, files)
    about = _json(path, "run.json", files["run.json"])
    model = PopModel.from_json(_text(path, "model.json", files["model.json"]))
    dataset = _dataset(path, files["data.nc"])
    for what, own, name in (
        ("model_hash", model.hash, "model.json"),
        ("data_hash", dataset.fingerprint, "data.nc"),
    ):
        if not own == about.get(what) == index.get(what):
            raise BundleError(f"{path}: {name} is not of the run: its hash is not in run.json.")
    same = all(about.get(name) == index.get(name) for name in ("method", "seed"))
    if not same or not isinstance(about["method"], dict) or type(about["seed"]) is not int:
        raise BundleError(f"{path}: method and seed in {INDEX} are not those in run.json.")
    method = from_values(about["method"])
    return Bundle(path, digest, index, model, dataset, method, about["seed"])


def _check_expected(path: Path, digest: str, expect: str) -> None:
    if re.fullmatch(rf"[0-9a-f]{{{_LEAST},64}}", expect) is None:
        raise SettingError(
            f"The expected SHA-256 is {expect!r}; give 64 digits of 0-9 and a-f, or the first "
            f"{_LEAST} of them at least."
        )
    if not digest.startswith(expect):
        raise BundleError(f"{path} is another bundle than expected: its SHA-256 is {digest}.")


def _members(path: Path) -> dict[str, bytes]:
    """The files of the archive: only those of a bundle, each once, nothing but plain files."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            for info in infos:
                _check_member(path, info)
            names = [info.filename for info in infos]
            if twice := [name for name in names if names.count(name) > 1]:
                raise BundleError(f"{path} holds {twice[0]} twice. It is no bundle of popk.")
            if missing := [name for name in _NEEDED if name not in names]:
                raise BundleError(f"{path} is no bundle of popk: it holds no {missing[0]}.")
            if sum(info.file_size for info in infos) > path.stat().st_size:
                raise BundleError(f"{path} says it holds more than its size. It is not opened.")
            return {info.filename: _content(archive, info) for info in infos}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OSError) as fault:
        if isinstance(fault, PopkError):
            raise
        raise BundleError(
            f"{path} is no bundle of popk, or it is damaged: {str(fault).rstrip('.')}."
        ) from fault


def _check_member(path: Path, info: zipfile.ZipInfo) -> None:
    name, mode = info.orig_filename, info.external_attr >> 16
    if name not in NAMES or name != info.filename:
        outside = ".." in name or name.startswith(("/", "\\")) or ":" in name
        why = "which leads out of the folder" if outside else "which is no file of a bundle"
        raise BundleError(f"{path} holds {name!r}, {why}. It is not opened.")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise BundleError(f"{path} holds {name} as a link or device. It is not opened.")
    if info.flag_bits & 1:
        raise BundleError(f"{path} holds {name} encrypted; popk export encrypts nothing.")
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise BundleError(
            f"{path} holds {name} compressed; popk export compresses nothing, so that nothing can "
            "be larger than it looks. Use the file as it was exported."
        )


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    file: IO[bytes]
    with archive.open(info) as file:
        content = file.read(info.file_size + 1)
    if len(content) != info.file_size:
        raise zipfile.BadZipFile(f"{info.filename} has another size than it says")
    return content


def _index(path: Path, files: Mapping[str, bytes]) -> dict[str, Any]:
    index = _json(path, INDEX, files[INDEX])
    if index.get("kind") != "popk bundle" or index.get("format") != FORMAT:
        raise BundleError(
            f"{path} is a bundle of another version of popk (format {index.get('format')!r}, not "
            f"{FORMAT}). Repeat it with that version."
        )
    listed = index.get("files")
    if not isinstance(listed, dict) or set(listed) != set(files) - {README, INDEX}:
        raise BundleError(f"{path}: the files in it are not those that {INDEX} lists.")
    for name, known in listed.items():
        right = {"sha256": digest_of_bytes(files[name]), "bytes": len(files[name])}
        if known != right:
            raise BundleError(
                f"{path}: {name} is not the file that was exported: its SHA-256 is not the one in "
                f"{INDEX}. It was damaged or changed; ask for the bundle again."
            )
    if not _is_complete(index):
        raise BundleError(f"{path}: {INDEX} does not say all that a repetition is held against.")
    return index


def _is_complete(index: Mapping[str, Any]) -> bool:
    """Whether the fields that a repetition reads are there, and of their kind."""
    expected, means = index.get("expected"), index.get("means")
    kinds = {"versions": dict, "environment": dict, "resumed": list, "one_version": bool}
    if not all(isinstance(index.get(name), kind) for name, kind in kinds.items()):
        return False
    if not isinstance(expected, dict) or not isinstance(means, list) or not means:
        return False
    if not all(isinstance(expected.get(name), str) for name in ("draws", "values")):
        return False
    fields = {"name": str, "unit": str, "mean": float, "mcse": float | None}
    return all(
        isinstance(one, dict) and all(isinstance(one.get(k, 0), kind) for k, kind in fields.items())
        for one in means
    )


def _dataset(path: Path, content: bytes) -> Dataset:
    with tempfile.TemporaryDirectory(prefix="popk-") as folder:
        place = Path(folder) / "data.nc"
        place.write_bytes(content)
        check_plain(place, f"{path}: data.nc")
        line = sidecar_line(digest_of_bytes(content), place)
        sidecar_of(place).write_text(line, encoding="utf-8")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what is no table of popk's
                table = load(place).to_dataset()
            return Dataset.from_xarray(table)
        except (LookupError, TypeError, AttributeError, ValueError) as fault:
            if isinstance(fault, PopkError) and not isinstance(fault, StorageError):
                raise
            raise BundleError(f"{path}: data.nc holds no data set of popk: {fault}") from fault


def _json(path: Path, name: str, content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(_text(path, name, content))
    except (ValueError, RecursionError) as fault:
        if isinstance(fault, PopkError):
            raise
        raise BundleError(f"{path}: {name} is damaged: {fault}.") from fault
    if not isinstance(found, dict):
        raise BundleError(f"{path}: {name} is damaged: it holds no fields.")
    return found


def _text(path: Path, name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise BundleError(f"{path}: {name} is damaged: {fault}.") from fault
