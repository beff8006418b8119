# SPDX-License-Identifier: Apache-2.0
"""The prepared corpus on disk: ``tokenizer.json`` and one safetensors file of token ids."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from host.train.config import TrainConfig
from host.train.corpus import CorpusError, split_books
from host.train.tokenizer import encode, train_tokenizer, windows

__all__ = ["Corpus", "load_corpus", "prepare"]

SPLITS = ("train", "validation", "held_out")


class Corpus(NamedTuple):
    """Training tokens int64 [n]; validation and held-out windows int64 [windows, context]."""

    train: Tensor
    validation: Tensor
    held_out: Tensor
    tokenizer: Tokenizer


def prepare(config: TrainConfig, verses: str, directory: Path) -> dict[str, int]:
    """Split, learn the tokenizer on the training split, encode; the tokens of each split."""
    texts = split_books(verses, {"validation": config.validation, "held_out": config.held_out})
    tokenizer = train_tokenizer(texts["train"], config.shape.vocab)
    tokens = {split: encode(tokenizer, texts[split]) for split in SPLITS}
    for split, ids in tokens.items():
        if len(ids) <= config.shape.context:
            raise CorpusError(f"the split {split!r} has {len(ids)} tokens, fewer than a window")
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    save_file({split: ids.astype(np.int16 if config.shape.vocab <= 1 << 15 else np.int32)
               for split, ids in tokens.items()}, directory / "tokens.safetensors")
    return {split: len(ids) for split, ids in tokens.items()}


def load_corpus(directory: Path, context: int) -> Corpus:
    """Read what :func:`prepare` wrote.

    Raises
    ------
    CorpusError
        Nothing was prepared there.
    """
    path = directory / "tokens.safetensors"
    if not path.exists():
        raise CorpusError(f"{path} is missing: run `python -m host.train prepare` first")
    tokens = {split: ids.astype(np.int32) for split, ids in load_file(path).items()}
    return Corpus(
        train=torch.from_numpy(tokens["train"]).long(),
        validation=torch.from_numpy(windows(tokens["validation"], context)).long(),
        held_out=torch.from_numpy(windows(tokens["held_out"], context)).long(),
        tokenizer=Tokenizer.from_file(str(directory / "tokenizer.json")))
