# SPDX-License-Identifier: Apache-2.0
"""Text to tokens and back, from a model's `tokenizer.json`: byte-level BPE, without a library."""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from host.errors import UserError

__all__ = ["Vocabulary"]

BOS = "<bos>"
MAX_FILE_BYTES = 32 << 20
# What the byte-level pre-tokeniser cuts at: endings, words, numbers, signs, each with the blank
# ahead of it; then blanks.
PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


def _printable() -> dict[int, str]:
    """Letter that stands for each byte: itself where it prints, the next free one where not."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return ({byte: chr(byte) for byte in plain}
            | {byte: chr(256 + n) for n, byte in enumerate(rest)})


class Vocabulary:
    """Tokens of one model.

    Parameters
    ----------
    path
        ``tokenizer.json``.

    Raises
    ------
    UserError
        The file is missing or no byte-level BPE vocabulary.
    """

    def __init__(self, path: Path) -> None:
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise UserError(f"{path}: more than {MAX_FILE_BYTES} bytes")
            content = json.loads(path.read_text(encoding="utf-8"))
            model = content["model"]
            self.ids: dict[str, int] = {str(k): int(v) for k, v in model["vocab"].items()}
            pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
            self.ranks = {(left, right): rank for rank, (left, right) in enumerate(pairs)}
            special = {one["content"]: int(one["id"]) for one in content.get("added_tokens", ())}
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(f"{path}: no byte-level BPE vocabulary ({error})") from error
        self.special = set(special.values())
        self.bos = special.get(BOS)
        letters = _printable()
        self._letters = letters
        self._bytes = {letter: byte for byte, letter in letters.items()}
        self._names = {number: name for name, number in (special | self.ids).items()}

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, the first token of every sequence ahead of them.

        Raises
        ------
        UserError
            The vocabulary lacks a byte of the text.
        """
        tokens = [] if self.bos is None else [self.bos]
        for line in text.splitlines(keepends=True):
            for piece in PIECES.findall(line):
                parts = self._merge([self._letters[byte] for byte in piece.encode()])
                missing = [part for part in parts if part not in self.ids]
                if missing:
                    raise UserError(f"the vocabulary has no token for {missing[0]!r}")
                tokens += [self.ids[part] for part in parts]
        return tokens

    def _merge(self, parts: list[str]) -> list[str]:
        """Join the pair of the lowest rank, wherever it is, until none is left."""
        while len(parts) > 1:
            best = min(pairwise(parts), key=lambda pair: self.ranks.get(pair, 1 << 30))
            if best not in self.ranks:
                break
            joined: list[str] = []
            for part in parts:
                if joined and (joined[-1], part) == best:
                    joined[-1] = "".join(best)
                else:
                    joined.append(part)
            parts = joined
        return parts

    def pieces(self, tokens: Iterable[int]) -> Iterator[str]:
        """Text of each token as it comes; a letter whose bytes are not all there yet waits."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token in tokens:
            name = self._names.get(token, "")
            yield "" if token in self.special else decoder.decode(
                bytes(self._bytes[letter] for letter in name if letter in self._bytes))

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of tokens; special ones are left out."""
        content = b"".join(
            bytes(self._bytes[letter] for letter in self._names.get(token, "")
                  if letter in self._bytes) for token in tokens if token not in self.special)
        return content.decode("utf-8", "replace")
