# SPDX-License-Identifier: Apache-2.0
"""Cycles of :mod:`hw.attention.cached_attention`: every transfer of one command."""

from collections.abc import Sequence
from typing import NamedTuple

from golden_model.attention.attention import EngineCycles
from golden_model.attention.cached_attention import command_fields
from golden_model.attention.head_joiner import JoinerCycles, JoinerStep
from golden_model.attention.score import Load, row_words
from golden_model.cached_attention_config import CachedAttentionConfig
from golden_model.kv.cache_cycles import AppendCycles, ReadCycles
from golden_model.kv.row_quantiser import RowQuantiserCycles

__all__ = ["CommandCycles", "CommandStep", "CommandSteps", "command_cycles", "head_order"]


class CommandCycles(NamedTuple):
    """The cycle of every transfer of one command, which is taken in cycle 0."""

    words: list[int]
    out: list[int]
    """Words that leave for the first time; repeats follow without a gap."""
    scale: int
    done: int
    """The first cycle in which the next command can be taken."""


class CommandStep(NamedTuple):
    """What is transferred in one cycle."""

    word: bool
    joined: JoinerStep


def head_order(config: CachedAttentionConfig, heads: int, kv_heads: int) -> list[tuple[str, int]]:
    """Heads as they come in: ``key``, ``value`` or ``query``, and its number among its kind."""
    def some(kind: str, first: int, count: int) -> list[tuple[str, int]]:
        return [(kind, number) for number in range(first, first + count)]

    if not config.grouped:
        return some("key", 0, kv_heads) + some("value", 0, kv_heads) + some("query", 0, heads)
    group, ahead = heads // kv_heads, config.attention.queries
    return [head for n in range(kv_heads)
            for head in (*some("query", n * group, ahead), ("key", n), ("value", n),
                         *some("query", n * group + ahead, group - ahead))]


class _Coder:
    """What lies between quantiser, cache and attention's queries: rows are put together."""

    def __init__(self, config: CachedAttentionConfig, order: list[tuple[str, int]]) -> None:
        self.kinds = [kind for kind, _ in order]
        self.groups = config.cache.lanes // config.beat
        self.coded = self.scaled = self.group = self.present = 0
        self.begun = self.asked = self.full = self.final = False

    def kind(self, number: int) -> str:
        """Kind of a head; behind the last one, the next command's first."""
        return self.kinds[number] if number < len(self.kinds) else self.kinds[0]

    @property
    def appends(self) -> bool:
        """Whether a row is asked for."""
        return self.begun and not self.asked and self.kind(self.scaled) != "query"

    def offers(self, scale: bool) -> bool:
        """Whether a row's word is offered."""
        return self.full and (not self.final or scale)

    def step(self, code: bool, last: bool, code_ready: bool, asked: bool, row: bool,
             query_scale: bool) -> None:
        """Go through one cycle: what is offered, and what is taken."""
        moves = code and code_ready
        if asked:
            self.asked = True
        if row:
            self.full = False
            if self.final:
                self.begun = self.asked = False
                self.present += self.kind(self.scaled) == "value"
                self.scaled += 1
        if moves and self.kind(self.coded) != "query":
            self.group += 1
            self.final, self.begun = last, True
            if last or self.group == self.groups:
                self.group, self.full = 0, True
        self.coded += moves and last
        self.scaled += query_scale


class CommandSteps:
    """One command on a unit at rest, cycle by cycle from the one behind its transfer on."""

    def __init__(self, config: CachedAttentionConfig, heads: int, kv_heads: int, n: int,
                 rows: int) -> None:
        fields = command_fields(config, heads, kv_heads, n)
        order, self.config, self.n = head_order(config, heads, kv_heads), config, n
        self.passes, self.shared = fields["passes"], fields["shared"]
        load = Load(fields["beats"], fields["words"])
        self.heads = len(order)
        """Heads that come in."""
        self.quantiser, self.coder = RowQuantiserCycles(config.quantiser), _Coder(config, order)
        self.engine = EngineCycles(config.attention, config.attention.unit, 0, load)
        self.joiner = JoinerCycles(config.joiner, heads, load.beats)
        self.ports = ReadCycles(config.cache), ReadCycles(config.cache)
        self.append = AppendCycles()
        self.row = row_words(rows, load.words)
        # A memory of one port is written the cycle after the word was given, but for first rows.
        self.pauses = config.cache.ports == "1rw" and rows > 1
        self.asked, self.read = [0, 0], [0, 0]
        self.words, self.written = load.words, 0
        """Words of a row, and streams whose newest rows can be read."""
        self.fed = self.writing = 0
        self.begun = False

    @property
    def takes(self) -> bool:
        """Whether a beat of `i` is taken in this cycle."""
        return self.quantiser.loads

    def step(self, offered: bool, o_ready: bool = True) -> CommandStep:
        """Go through one cycle, given whether a beat of `i` is offered, and one of `o` taken."""
        quantiser, coder, ports, row = self.quantiser, self.coder, self.ports, self.row
        code, scale = quantiser.pipe[-1] is not None, quantiser.scale_valid
        last = bool(quantiser.pipe[-1])
        of_query, scale_of_query = (coder.kind(number) == "query"
                                    for number in (coder.coded, coder.scaled))
        key, value = (row[done % len(row)] if port.valid else None
                      for port, done in zip(ports, self.read))
        found = self.engine.step(code and of_query, scale and scale_of_query, key, value,
                                 self.joiner.sum_ready, self.joiner.scale_ready)
        joined = self.joiner.step(found.sum, found.scale, o_ready)

        word_offered = coder.offers(scale)
        appended = word_offered and self.append.ready
        code_ready = found.query if of_query else not coder.full
        scale_ready = (found.query_scale if scale_of_query else appended and coder.final)
        writes = self.append.written and self.pauses
        for side, (port, taken) in enumerate(zip(ports, (found.key, found.value))):
            more = self.begun and self.asked[side] < self.passes
            paused = writes and self.writing == side
            waits = (port.begun - 1) // self.shared >= self.written
            self.asked[side] += port.step(len(row) if more else None, taken, paused,
                                          self.words if waits else 0)
            self.read[side] += taken
        self.written = coder.present  # as of the cycle before: it takes one to be in memory
        if appended:
            self.writing = int(coder.kind(coder.scaled) == "value")
        wants, final = coder.appends, coder.final
        coder.step(code, last, code_ready, wants and self.append.free, appended,
                   scale and scale_of_query and found.query_scale)
        self.append.step(wants, word_offered, final)
        step = quantiser.step(self.n if self.fed < self.heads else None, offered, code_ready,
                              scale_ready)
        self.fed += step.command
        if not self.begun:  # attention is told in this cycle
            self.begun, self.engine.waiting = True, [self.passes, self.passes]
        return CommandStep(step.word, joined)


def command_cycles(config: CachedAttentionConfig, *, heads: int, kv_heads: int, n: int, rows: int,
                   arrivals: Sequence[int] | None = None) -> CommandCycles:
    """Cycles of one command on a unit at rest, while every result is taken at once.

    Parameters
    ----------
    heads, kv_heads, n
        The model's, ``n`` the length of a head.
    rows
        Rows that the token sees, its own included.
    arrivals
        For each beat of `i` the cycle from which on it is offered; None: from the start.
    """
    steps = CommandSteps(config, heads, kv_heads, n, rows)
    beats = -(-n // config.beat)
    count = steps.heads * beats
    offered = list(arrivals) if arrivals is not None else [0] * count
    if len(offered) != count:
        raise ValueError(f"arrivals must be {count} cycles, not {len(offered)}")
    entered: list[int] = []
    out: list[int] = []
    scale = done = 0
    cycle = 1
    while len(out) < heads * beats:
        word, joined = steps.step(len(entered) < count and offered[len(entered)] <= cycle)
        if word:
            entered.append(cycle)
        if joined.word:
            out.append(cycle)
        if joined.scale:
            scale = cycle
        if joined.loaded:
            done = cycle + 2
        cycle += 1
    return CommandCycles(entered, out, scale, done)
