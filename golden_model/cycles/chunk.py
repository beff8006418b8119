# SPDX-License-Identifier: Apache-2.0
"""Cycles of instructions whose tokens share the weights: a round for each token."""

from collections.abc import Callable, Mapping, Sequence

from golden_model.attention.cached_attention_cycles import CommandSteps
from golden_model.control import scale_products
from golden_model.cycles.attend import PRODUCTS, RotationSteps
from golden_model.cycles.embed import embed
from golden_model.cycles.engine import ArrayRun
from golden_model.cycles.facts import LayerFacts, TokenFacts
from golden_model.cycles.port import PortCycles
from golden_model.cycles.projections import Product, columns, finish, output
from golden_model.cycles.vectors import (
    ACCEPT,
    COMMAND,
    Quantised,
    beats,
    first_pass,
    gain_words,
    quantise,
)
from golden_model.decoder_config import DecoderConfig
from golden_model.vector.token_store import StoreReads

__all__ = ["ChunkRounds", "sums_of"]


def sums_of(run: ArrayRun, start: int, tokens: int) -> list[list[int]]:
    """Cycle of each token's sums, block by block, of a run that nobody holds up."""
    moved: list[int] = []
    now = start
    while not run.done:
        if run.step(now, True):
            moved.append(now)
        now += 1
    return [moved[token::tokens] for token in range(tokens)]


class _Port(ArrayRun):
    """The port in a round in which the array does not ask."""

    def __init__(self, config: DecoderConfig) -> None:
        self.port = PortCycles(config)
        self.taken = None

    def step(self, now: int, o_ready: bool, others: list[tuple[int, int]] | None = None,
             ready: bool = False) -> bool:
        """Go through cycle `now`."""
        self.taken = self.port.step(others or [], ready)
        return False


class _Product(Product):
    """The gated product of one token: gates and activations come from where they are kept."""

    def __init__(self, config: DecoderConfig, fields: Mapping[str, int], facts: LayerFacts,
                 run: ArrayRun, gates: Sequence[int], start: int, first: bool) -> None:
        super().__init__(config, fields, facts.gates, run, loaded=False)
        self.kept = StoreReads(gates, start)
        self.start = start
        if not first:
            self.gains.asked = 0
            self.gains.words = list(range(start + 1, start + 1 + len(facts.down)))

    def offered(self, now: int, moved: bool) -> tuple[bool, bool]:
        """Whether a beat of activations and one of gates are offered; gates are always taken."""
        gate = self.kept.valid
        self.kept.tick(now, True)
        return self.start < now <= self.start + self.blocks, gate


class ChunkRounds:
    """What one instruction of a chunk leaves to the next, each with a round a token."""

    def __init__(self, config: DecoderConfig, facts: Sequence[TokenFacts]) -> None:
        self.config, self.facts, self.tokens = config, facts, len(facts)
        self.run = 0
        """First cycle of the array's run, all activations in place."""
        self.scaled = [0] * self.tokens
        """First cycle in which the scale of each token's codes stands."""

    def rounds(self, start: int, end: Callable[[int, int], int]) -> int:
        """Cycle in which an instruction is accepted, from that of each token's round's end."""
        for token in range(self.tokens):
            last = end(token, start)
            start = last + 1
        return last

    def embed(self, fields: Mapping[str, int], start: int, follows: int) -> int:
        """Cycle in which an ``embed`` is accepted."""
        return self.rounds(start, lambda token, begin: embed(
            self.config, fields, begin, 0 if token else follows))

    def quantise(self, fields: Mapping[str, int], start: int, follows: int, single: bool) -> int:
        """Cycle in which a ``quantise`` is accepted; `single`: only the last token has a round."""
        free, load = 0, start + follows
        tokens = range(self.tokens - 1 if single else 0, self.tokens)
        for token in tokens:
            found: Quantised = quantise(self.config, fields, start,
                                        load if token == tokens[0] else None, free)
            self.scaled[token], self.run = found.scaled, found.run
            # The scale is taken the cycle before it stands, the quantiser at rest two later.
            free = max(found.end - ACCEPT, found.scaled - 1) + 2
            start = found.end + 1
        return found.end

    def attend(self, fields: Mapping[str, int], start: int, run: ArrayRun) -> int:
        """Cycle in which an ``attend`` is accepted."""
        sums = sums_of(run, start, self.tokens)
        return self.rounds(start, lambda token, begin: self._attend(
            fields, begin, token, sums[token]))

    def _attend(self, fields: Mapping[str, int], start: int, token: int,
                sums: Sequence[int]) -> int:
        """Cycle in which a token's keys, values and words are all where they belong."""
        config = self.config
        command = max(start, self.scaled[token]) + scale_products.latency(config.unit, PRODUCTS)
        if self.tokens > 1:
            command += config.attention.move_latency
        rotation, kept = RotationSteps(config.rotation), StoreReads(sums, start)
        steps = CommandSteps(config.attention, fields["heads"], fields["kv_heads"], fields["n"],
                             self.facts[token].rows)
        left, now = fields["heads"] * beats(config, fields["n"]), start
        while left:
            takes = now > command and steps.takes
            rotated, offered = rotation.ready(takes), rotation.valid
            rotation.tick(kept.valid and rotated, takes)
            kept.tick(now, rotated)
            if now > command:
                left -= steps.step(offered).joined.word
            now += 1
        return now - 1 + ACCEPT

    def output(self, fields: Mapping[str, int], hidden: int, layer: Sequence[LayerFacts],
               start: int, follows: int) -> int:
        """Cycle in which an ``output`` is accepted."""
        count = beats(self.config, fields["n"])
        # One for all rounds: its selection may still clear its counts when the next one comes.
        way = columns(self.config)

        def end(token: int, begin: int) -> int:
            gains = (range(begin + 1, begin + 1 + count) if token
                     else gain_words(self.config, begin + follows, count))
            taken = first_pass(begin + COMMAND + 1, [begin + 1] * count, gains)
            return output(self.config, hidden, layer[token].output, begin, taken[-1], way)

        return self.rounds(start, end)

    def feed_forward(self, fields: Mapping[str, int], hidden: int, layer: Sequence[LayerFacts],
                     start: int, run: Callable[[], ArrayRun]) -> int:
        """Cycle in which a ``feed_forward`` is accepted; `run` makes the array at rest."""
        sums = sums_of(run(), start, self.tokens)

        def end(token: int, begin: int) -> int:
            facts = layer[token]
            product = _Product(self.config, fields, facts,
                               _Port(self.config) if token else run(), sums[token], begin,
                               not token)
            now = begin
            while len(product.taken) < len(facts.down):
                product.step(now, now >= self.scaled[token])
                now += 1
            return finish(self.config, facts.down, hidden, product.scaled + COMMAND,
                          product.taken, None)

        return self.rounds(start, end)
