# SPDX-License-Identifier: Apache-2.0
"""Byte-level BPE: as the library that trained it, without the library."""

from pathlib import Path

import pytest

from host.errors import UserError
from host.text import Vocabulary

TOKENIZER = Path(__file__).parents[2] / "models" / "demo" / "tokenizer.json"
TEXTS = ["", "In the beginning", " God said, Let there be light: and there was light.\n",
         "We'll  see\n\n  what's _there_; x1 12a\tb\r\n", "é ü — ☃ 😀", "aaaa aaaaa the the\t\tthe",
         "\n", "  ", "a  b", "trailing  "]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary(TOKENIZER)


@pytest.mark.parametrize("text", TEXTS)
def test_text_comes_back_behind_the_first_token(vocabulary: Vocabulary, text: str) -> None:
    tokens = vocabulary.encode(text)
    assert tokens[0] == vocabulary.bos == 0
    assert vocabulary.decode(tokens) == text


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_those_of_the_library(vocabulary: Vocabulary, text: str) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    library = tokenizers.Tokenizer.from_file(str(TOKENIZER))
    lines = library.encode_batch(text.splitlines(keepends=True), add_special_tokens=False)
    assert vocabulary.encode(text)[1:] == [token for line in lines for token in line.ids]


def test_pieces_join_to_the_text_and_never_cut_a_letter(vocabulary: Vocabulary) -> None:
    text = "light ☃ 😀 é."
    pieces = list(vocabulary.pieces(vocabulary.encode(text)))
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"model": {"vocab": 3, "merges": []}}',
                                     '{"model": {"vocab": {"a": "x"}, "merges": []}}'])
def test_another_file_is_refused_in_a_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="no byte-level BPE vocabulary"):
        Vocabulary(path)
    with pytest.raises(UserError, match="No such file"):
        Vocabulary(tmp_path / "none.json")
