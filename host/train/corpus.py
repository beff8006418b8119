# SPDX-License-Identifier: Apache-2.0
"""The training text: Debian's ``bible`` command or a file of its verses, split by whole books."""

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

__all__ = ["CorpusError", "read_verses", "split_books"]

VERSE = re.compile(r"(\d?[A-Za-z]+)\d+:\d+ (.*)")
"""One line of ``bible -f``: book, chapter, verse, text."""

EVERYTHING = "gen1:1-rev22:21"


class CorpusError(ValueError):
    """The text is missing or not in the form expected; one sentence for the user."""


def read_verses(path: Path | None = None) -> str:
    """Every verse, one a line, each behind its reference (``Ge1:1 In the beginning ...``).

    Parameters
    ----------
    path
        A text file in that form; None asks the ``bible`` command.

    Raises
    ------
    CorpusError
        The file or the command cannot be used.
    """
    if path is not None:
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CorpusError(f"{path}: the corpus cannot be read: {error}") from error
    command = shutil.which("bible")
    if command is None:
        raise CorpusError("the command `bible` is missing: apt install bible-kjv bible-kjv-text, "
                          "or name a file of its verses with --corpus")
    done = subprocess.run([command, "-f", EVERYTHING], capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout:
        raise CorpusError(f"`bible -f {EVERYTHING}` failed with code {done.returncode}: apt "
                          "install bible-kjv-text for its text")
    return done.stdout


def split_books(text: str, splits: dict[str, Iterable[str]]) -> dict[str, str]:
    """Verses without their references, one a line, as one text per split.

    Parameters
    ----------
    text
        Verses as :func:`read_verses` gives them.
    splits
        Split name to the abbreviations of its whole books (``Ruth``, ``1Jn``).  Every other book
        goes to the split ``train``.

    Raises
    ------
    CorpusError
        A line is no verse, a book is claimed twice, or a claimed book is not in the text.
    """
    claims = [(book, split) for split, books in splits.items() for book in books]
    owner = dict(claims)
    if len(owner) != len(claims):
        twice = next(book for book, _ in claims if sum(b == book for b, _ in claims) > 1)
        raise CorpusError(f"book {twice!r} is in more than one split")
    parts: dict[str, list[str]] = {name: [] for name in ("train", *splits)}
    seen = set()
    for number, line in enumerate(text.splitlines(), start=1):
        verse = VERSE.fullmatch(line)
        if verse is None:
            raise CorpusError(f"line {number} of the corpus is not a verse: {line[:60]!r}")
        book, words = verse.groups()
        seen.add(book)
        parts[owner.get(book, "train")].append(words.strip() + "\n")
    absent = sorted(owner.keys() - seen)
    if absent:
        raise CorpusError(f"book {absent[0]!r} is not in the corpus, which has "
                          f"{', '.join(sorted(seen))}")
    return {name: "".join(lines) for name, lines in parts.items()}
