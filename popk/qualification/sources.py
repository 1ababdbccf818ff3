"""Hashes of code: the same code has the same hash, whatever its comments and layout."""

from __future__ import annotations

import hashlib
import io
import tokenize
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

__all__ = ["PARTS", "hash_of", "installed_hashes"]

# What numbers come from, by the paths in popk/ that make up each part.
PARTS: dict[str, tuple[str, ...]] = {
    "engine": ("structure",),
    "likelihood": (
        "statistics", "model", "design.py", "observations.py", "population.py", "graph.py",
        "class_graph.py", "effect_graph.py", "level_graph.py", "latent.py", "levels.py", "forms.py",
    ),
    "inference": ("inference",),
    "decision": ("individual", "monitoring", "decision"),
}  # fmt: skip
_LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER}
_STRUCTURE = {tokenize.NEWLINE: ";", tokenize.INDENT: "{", tokenize.DEDENT: "}"}
_BETWEEN = {*_STRUCTURE.values(), ""}


def _meaning(source: str) -> str:
    """A module's tokens without comments, docstrings and layout."""
    found: list[str] = []
    before, held = "", ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in _LAYOUT:
            continue
        word = _STRUCTURE.get(token.type, token.string)
        if held:
            text, held = held, ""
            if word == ";":  # a docstring
                before = word
                continue
            found.append(text)  # it begins an expression
        if token.type == tokenize.STRING and before in _BETWEEN:
            held = word
        else:
            found.append(word)
        before = word
    return " ".join(found)


def hash_of(root: Path, paths: Iterable[str]) -> str:
    """SHA-256 over the modules (files, or all below folders) at paths in a folder.

    Comments, docstrings and layout do not count.
    """
    digest = hashlib.sha256()
    for path in paths:
        below = [root / path] if path.endswith(".py") else sorted((root / path).rglob("*.py"))
        for file in below:
            digest.update(f"{file.relative_to(root).as_posix()}\n".encode())
            digest.update(_meaning(file.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()


def installed_hashes() -> dict[str, str]:
    """The hash of each of `PARTS`, and of all of popk, as installed."""
    root = Path(str(files("popk")))
    found = {part: hash_of(root, paths) for part, paths in PARTS.items()}
    everything = sorted(
        path.name
        for path in root.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    )
    return found | {"popk": hash_of(root, [name for name in everything if name != "models"])}
