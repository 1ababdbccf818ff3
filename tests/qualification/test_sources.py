"""Hashes of code change with what it does, and not with how it is laid out."""

import pytest

from popk.qualification.sources import PARTS, hash_of, installed_hashes

CODE = '"""What it is."""\n\nimport os\n\n\ndef f(x):\n    """Say it."""\n    return x + 1\n'
SAME = (
    CODE,
    CODE.replace("What it is.", "Something else."),
    CODE.replace("\n\n\ndef", "\n\n# a remark\ndef"),
    CODE.replace("    return x + 1", "    return (  # why\n        x + 1\n    )").replace(
        "(  # why\n        x + 1\n    )", "x + 1  # why"
    ),
    CODE.replace('    """Say it."""\n', ""),
)
OTHER = (
    CODE.replace("x + 1", "x + 2"),
    CODE.replace("    return", "    x = 2\n    return"),
    CODE.replace("return x + 1", 'return "a" + x'),
    CODE.replace("return x + 1", 'return "b" + x'),
    CODE.replace("import os", "import sys"),
)


def hashed(folder, text):
    (folder / "part").mkdir(exist_ok=True)
    (folder / "part" / "code.py").write_text(text, encoding="utf-8")
    return hash_of(folder, ["part"])


@pytest.mark.parametrize("text", SAME, ids=range(len(SAME)))
def test_comments_docstrings_and_layout_do_not_count(tmp_path, text):
    assert hashed(tmp_path, text) == hashed(tmp_path, CODE)


def test_everything_else_does(tmp_path):
    assert len({hashed(tmp_path, text) for text in (CODE, *OTHER)}) == 1 + len(OTHER)


def test_a_string_that_begins_an_expression_counts(tmp_path):
    first, second = (f'x = 1\n"{word}".join(y)\n' for word in "ab")
    assert hashed(tmp_path, first) != hashed(tmp_path, second)


def test_another_name_of_a_file_counts(tmp_path):
    before = hashed(tmp_path, CODE)
    (tmp_path / "part" / "code.py").rename(tmp_path / "part" / "other.py")
    assert hash_of(tmp_path, ["part"]) != before


def test_every_part_of_popk_has_a_hash_of_its_own():
    found = installed_hashes()
    assert set(found) == {*PARTS, "popk"}
    assert len(set(found.values())) == len(found)
