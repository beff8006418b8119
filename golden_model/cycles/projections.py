# SPDX-License-Identifier: Apache-2.0
"""Cycles of what ends in an addition to the residual stream: ``output`` and ``feed_forward``."""

from collections.abc import Mapping, Sequence

from golden_model.cycles.engine import GAINS, UP, ArrayRun
from golden_model.cycles.facts import LayerFacts
from golden_model.cycles.port import image_latency
from golden_model.cycles.vectors import ACCEPT, COMMAND, Norm, add, beats, norm
from golden_model.decoder_config import DecoderConfig
from golden_model.ffn.gate_up import GateUpCycles, GateUpOffers
from golden_model.ffn.stages import Pipeline
from golden_model.sparse.masked_linear_cycles import MaskedLinearCycles, RequestWay

__all__ = ["Product", "columns", "feed_forward", "finish", "output"]


def columns(config: DecoderConfig) -> MaskedLinearCycles:
    """Return the path of masked columns at rest."""
    return MaskedLinearCycles(config.masked_linear, config.unit,
                              config.column_address.latency + image_latency(config),
                              RequestWay(image_latency(config)))


def finish(config: DecoderConfig, counts: Sequence[int], hidden: int, command: int,
           taken: list[int], selected: int | None,
           way: MaskedLinearCycles | None = None) -> int:
    """Cycle in which an instruction is accepted, from what its first pass of words took.

    `way`: that of the columns, as vectors before this one left it; at rest unless given.
    """
    after: Norm = norm(config, taken[-1])
    path = (way or columns(config)).finish(
        list(counts), hidden, selected=selected, command=command, taken=list(taken),
        offered=[0] * len(counts), codes=after.codes, scale=after.scale)
    return add(config, beats(config, hidden), path.scale, path.sums) + ACCEPT


def output(config: DecoderConfig, hidden: int, counts: Sequence[int], start: int,
           words: int, way: MaskedLinearCycles | None = None) -> int:
    """Cycle in which an ``output`` that is offered in cycle `start` is accepted.

    Parameters
    ----------
    counts
        Kept codes other than zero of each beat.
    words
        Last transfer of the first pass.
    way
        As :func:`finish` takes it.
    """
    return finish(config, counts, hidden, start + COMMAND, [words], 0, way)


class Product:
    """The gated product of one ``feed_forward``: weights of the gates, up rows, words.

    `loaded`: the activations of the up rows are there.
    """

    def __init__(self, config: DecoderConfig, fields: Mapping[str, int],
                 masks: Sequence[Sequence[int]], run: ArrayRun, loaded: bool = True) -> None:
        self.run, self.masks, self.unit = run, masks, GateUpCycles(config.gate_up)
        self.n, self.blocks = fields["n"], fields["up_blocks"]
        self.unit.loaded = self.blocks if loaded else 0
        self.address: Pipeline[int] = Pipeline(config.up_address.latency)
        self.gains = GainCycles(config, fields["gain_beats"], beats(config, self.n))
        self.multiply = config.unit.latency["mul"]
        self.gates, self.response, self.scaled = 0, -1, -1
        self.taken: list[int] = []
        """Transfers of the first pass's words."""

    def offered(self, now: int, moved: bool) -> tuple[bool, bool]:
        """Whether a beat of activations and one of gates are offered, sums having `moved`."""
        return False, moved

    def step(self, now: int, scale: bool) -> None:
        """Go through cycle `now`; `scale`: that of the activations stands."""
        unit, run, gains, blocks = self.unit, self.run, self.gains, self.blocks
        port, ends = run.port, self.gates == len(self.masks) - 1
        taking, reader = port.taking, port.reader
        others = [(GAINS, gains.asked)] if gains.asked else []
        if self.address.out is not None:
            others.append((UP, blocks))
        ready = now >= gains.free if taking == GAINS else unit.weights_ready
        vector, gate = self.offered(now, run.step(now, True, others, ready))
        words = gains.words
        takes = (self.scaled >= 0 and now > self.scaled + COMMAND
                 and len(words) > len(self.taken) and words[len(self.taken)] <= now)
        offers = GateUpOffers(
            command=(self.n, blocks), vector=vector,
            gate=(list(self.masks[self.gates]), ends) if gate else None, scale=scale,
            weights=reader == UP, row_ready=self.address.ready(run.taken == UP), o_ready=takes,
            scale_ready=now == self.scaled + COMMAND, request_ready=True,
            response=now == self.response)
        ports = unit.answer(offers)
        unit.tick(offers, ports)
        self.address.tick(ports.row, run.taken == UP)
        gains.tick(now, reader == GAINS, run.taken == GAINS)
        self.gates += gate
        if ports.request:
            self.response = now + self.multiply
        if ports.o_scale and self.scaled < 0:
            self.scaled = now
        if ports.o and takes:
            self.taken.append(now)


class GainCycles:
    """A norm's gains, loaded while others ask for the port."""

    def __init__(self, config: DecoderConfig, count: int, words: int) -> None:
        self.config, self.left = config.gains, words
        self.asked = count
        """Beats to ask for."""
        self.free = 0
        """First cycle in which a beat is taken."""
        self.words: list[int] = []
        """Cycle from which on each word is there."""

    def tick(self, now: int, beat: bool, taken: bool) -> None:
        """Go on to the next cycle: whether a beat is offered, and the request is taken."""
        if taken:
            self.asked = 0
        if not beat or now < self.free:
            return
        count = min(self.left, self.config.splitter.per_beat)
        self.left -= count
        self.free = now + count
        first = now + self.config.latency
        self.words += range(first, first + count)


def feed_forward(config: DecoderConfig, fields: Mapping[str, int], hidden: int,
                 facts: LayerFacts, run: ArrayRun, start: int, scaled: int) -> int:
    """Cycle in which a ``feed_forward`` that is offered in cycle `start` is accepted.

    Parameters
    ----------
    run
        The array, whose weights are asked for from `start` on.
    scaled
        The first cycle in which the activations' scale stands.
    """
    product, now = Product(config, fields, facts.gates, run), start
    while len(product.taken) < len(facts.down):
        product.step(now, now >= scaled)
        now += 1
    return finish(config, facts.down, hidden, product.scaled + COMMAND, product.taken, None)
