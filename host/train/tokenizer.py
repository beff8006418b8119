# SPDX-License-Identifier: Apache-2.0
"""Byte-level BPE over the training split, and the windows every model reads.

Ids 0 to 2 are special: ``<bos>`` opens every window, ``<eos>`` and ``<pad>`` are reserved (the
training text has neither).  Byte-level means that any text encodes and decodes without loss.
"""

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE

__all__ = ["BOS", "SPECIAL", "encode", "train_tokenizer", "windows"]

SPECIAL = ("<bos>", "<eos>", "<pad>")
BOS = 0


def train_tokenizer(text: str, vocab: int) -> Tokenizer:
    """BPE tokenizer of `vocab` tokens: 3 special, 256 bytes, the rest merges learnt from `text`.

    Raises
    ------
    ValueError
        `vocab` has no room for special tokens and bytes, or `text` is too short to fill it.
    """
    if vocab < len(SPECIAL) + 256:
        raise ValueError(f"vocab must be at least {len(SPECIAL) + 256}, not {vocab}")
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=list(SPECIAL), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
    if tokenizer.get_vocab_size() != vocab:
        raise ValueError(f"the text yields {tokenizer.get_vocab_size()} tokens, not {vocab}")
    return tokenizer


def encode(tokenizer: Tokenizer, text: str) -> NDArray[np.int32]:
    """Token ids int32 [n] of `text`, without special tokens."""
    lines = tokenizer.encode_batch(text.splitlines(keepends=True), add_special_tokens=False)
    return np.fromiter((t for line in lines for t in line.ids), np.int32)


def windows(tokens: NDArray[np.int32], context: int) -> NDArray[np.int32]:
    """Non-overlapping windows int32 [n, context], each BOS and ``context - 1`` tokens of text.

    A tail too short for a window is left out.
    """
    body = context - 1
    count = len(tokens) // body
    text = tokens[:count * body].reshape(count, body)
    return np.concatenate([np.full((count, 1), BOS, np.int32), text], axis=1)
