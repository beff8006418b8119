# SPDX-License-Identifier: Apache-2.0
"""Cycles of every token of a text, from the cycle model, ahead of any simulation."""

from collections.abc import Iterator, Sequence

import numpy as np

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.config import config_hash
from golden_model.control.chunk_loop import chunk_sizes
from golden_model.cycles.facts import TokenFacts, facts_of
from golden_model.cycles.token import DecoderCycles, InstructionCycles
from golden_model.decoder import Capture
from golden_model.exact import ExactDecoder
from golden_model.weights import DecoderWeights
from host.compile.compiler import compile_model

__all__ = ["TokenCycles", "predicted_cycles"]


class TokenCycles:
    """Predicts what the hardware takes for each token of one text, its image being on the chip.

    With ``config.array.batch`` above 1 prompt tokens are read in chunks, and cycles are a chunk's.

    Parameters
    ----------
    config
        A whole accelerator.
    """

    def __init__(self, config: AcceleratorConfig, weights: DecoderWeights) -> None:
        image, _ = compile_model(weights, config.decoder, config_hash(config))
        self.config, self.weights = config, weights
        self.model = DecoderCycles(config.decoder, image.program,
                                   image.header["head_instructions"])

    def facts(self, tokens: Sequence[int], prompt: int,
              drawn: Sequence[int] | None = None) -> list[TokenFacts]:
        """Facts of each token that is read.

        Parameters
        ----------
        prompt
            How many of them are the prompt's: what follows all but its last is not wanted.
        drawn
            Successors of the others, if they are drawn.
        """
        decoder = ExactDecoder(self.weights, window=self.config.window)
        capture: Capture = {}
        decoder.forward(np.array(tokens, np.int64), capture)
        found = []
        for place in range(len(tokens)):
            following = None if drawn is None or place < prompt - 1 else drawn[place - prompt + 1]
            found.append(facts_of(self.config.decoder, capture, min(
                place + 1, self.config.window), token=place, drawn=following))
        return found

    def read(self, tokens: Sequence[int], prompt: int,
             drawn: Sequence[int] | None = None) -> list[int]:
        """Cycles of each token from its offer to its acceptance, both included; see `facts`."""
        return [self.model.chunk(chunk, skip_head=skip)
                for chunk, skip in self.chunks(tokens, prompt, drawn)]

    def instructions(self, tokens: Sequence[int], prompt: int,
                     drawn: Sequence[int] | None = None) -> list[list[InstructionCycles]]:
        """Cycles of each instruction of each token; see `facts`."""
        return [self.model.instructions(*chunk, skip_head=skip)
                for chunk, skip in self.chunks(tokens, prompt, drawn)]

    def chunks(self, tokens: Sequence[int], prompt: int, drawn: Sequence[int] | None = None,
               ) -> Iterator[tuple[list[TokenFacts], bool]]:
        """Facts of the tokens that are read at a time, and whether no successor is wanted."""
        facts, done = self.facts(tokens, prompt, drawn), 0
        for count in chunk_sizes(self.config.token_loop, len(tokens), prompt):
            done += count
            yield facts[done - count:done], done < prompt


def predicted_cycles(config: AcceleratorConfig, weights: DecoderWeights, tokens: Sequence[int],
                     prompt: int, drawn: Sequence[int] | None = None) -> list[int] | None:
    """Cycles of each token or chunk that is read; None if the image is not on the chip.

    Then they depend on the memory.
    """
    if config.system is None or config.system.memory != "block":
        return None
    return TokenCycles(config, weights).read(tokens, prompt, drawn)
