# SPDX-License-Identifier: Apache-2.0
"""The corpus: read, split by whole books, refuse what is no verse."""

import shutil

import pytest

from host.train.corpus import CorpusError, read_verses, split_books

VERSES = """\
Ge1:1 In the beginning.
Ge1:2 And the earth was.
Ruth1:1 Now it came to pass.
1Jn1:1 That which was
Rev22:21 Amen.
"""


def test_split_keeps_books_whole_and_order():
    parts = split_books(VERSES, {"validation": ["Ruth"], "held_out": ["1Jn"]})
    assert parts == {"train": "In the beginning.\nAnd the earth was.\nAmen.\n",
                     "validation": "Now it came to pass.\n", "held_out": "That which was\n"}


def test_a_book_belongs_to_one_split():
    with pytest.raises(CorpusError, match="'Ruth' is in more than one split"):
        split_books(VERSES, {"validation": ["Ruth"], "held_out": ["Ruth"]})


def test_absent_book_is_named():
    with pytest.raises(CorpusError, match="'Tobit' is not in the corpus"):
        split_books(VERSES, {"held_out": ["Tobit"]})


def test_line_that_is_no_verse_is_named():
    with pytest.raises(CorpusError, match="line 2 of the corpus is not a verse: 'Hello'"):
        split_books("Ge1:1 In\nHello\n", {})


def test_missing_command_names_the_packages(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(CorpusError, match="apt install bible-kjv bible-kjv-text"):
        read_verses()


def test_file_instead_of_command(tmp_path):
    path = tmp_path / "verses.txt"
    path.write_text(VERSES)
    assert read_verses(path) == VERSES
    with pytest.raises(CorpusError, match="cannot be read"):
        read_verses(tmp_path / "absent")
