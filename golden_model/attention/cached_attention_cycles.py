# SPDX-License-Identifier: Apache-2.0
"""Cycles of :mod:`hw.attention.cached_attention`: every transfer of one command."""

from collections.abc import Sequence
from typing import NamedTuple

from golden_model.attention.attention import EngineCycles
from golden_model.attention.cached_attention import command_fields
from golden_model.attention.head_joiner import JoinerCycles
from golden_model.attention.score import Load, row_words
from golden_model.cached_attention_config import CachedAttentionConfig
from golden_model.kv.cache_cycles import AppendCycles, ReadCycles
from golden_model.kv.row_quantiser import RowQuantiserCycles

__all__ = ["CommandCycles", "command_cycles", "head_order"]


class CommandCycles(NamedTuple):
    """The cycle of every transfer of one command, which is taken in cycle 0."""

    words: list[int]
    out: list[int]
    """Words that leave for the first time; repeats follow without a gap."""
    scale: int
    done: int
    """The first cycle in which the next command can be taken."""


def head_order(config: CachedAttentionConfig, heads: int, kv_heads: int) -> list[tuple[str, int]]:
    """Heads as they come in: ``key``, ``value`` or ``query``, and its number among its kind."""
    def some(kind: str, first: int, count: int) -> list[tuple[str, int]]:
        return [(kind, number) for number in range(first, first + count)]

    if not config.grouped:
        return some("key", 0, kv_heads) + some("value", 0, kv_heads) + some("query", 0, heads)
    group = heads // kv_heads
    return [head for n in range(kv_heads)
            for head in (("key", n), ("value", n), *some("query", n * group, group))]


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
    fields = command_fields(config, heads, kv_heads, n)
    order, attention = head_order(config, heads, kv_heads), config.attention
    passes, shared, words, beats = (fields[name] for name in ("passes", "shared", "words", "beats"))
    count = len(order) * -(-n // config.beat)
    offered = list(arrivals) if arrivals is not None else [0] * count
    if len(offered) != count:
        raise ValueError(f"arrivals must be {count} cycles, not {len(offered)}")
    quantiser, coder = RowQuantiserCycles(config.quantiser), _Coder(config, order)
    engine = EngineCycles(attention, attention.unit, 0, Load(beats, words))
    joiner = JoinerCycles(config.joiner, heads, beats)
    ports, append = (ReadCycles(config.cache), ReadCycles(config.cache)), AppendCycles()
    row = row_words(rows, words)
    asked, read, fed = [0, 0], [0, 0], 0
    entered: list[int] = []
    out: list[int] = []
    scale_out = done = writing = 0
    cycle = 1
    while len(out) < heads * beats:
        code, scale = quantiser.pipe[-1] is not None, quantiser.scale_valid
        last = bool(quantiser.pipe[-1])
        of_query, scale_of_query = (coder.kind(number) == "query"
                                    for number in (coder.coded, coder.scaled))
        key, value = (row[done % len(row)] if port.valid else None
                      for port, done in zip(ports, read))
        found = engine.step(code and of_query, scale and scale_of_query, key, value,
                            joiner.sum_ready, joiner.scale_ready)
        joined = joiner.step(found.sum, found.scale)
        if joined.word:
            out.append(cycle)
        if joined.scale:
            scale_out = cycle
        if joined.loaded:
            done = cycle + 2

        word_offered = coder.offers(scale)
        appended = word_offered and append.ready
        code_ready = found.query if of_query else not coder.full
        scale_ready = (found.query_scale if scale_of_query else appended and coder.final)
        # A memory of one port is written the cycle after the word was given, but for first rows.
        writes = append.written and config.cache.ports == "1rw" and rows > 1
        for side, (port, taken) in enumerate(zip(ports, (found.key, found.value))):
            there = (cycle > 1 and asked[side] < passes
                     and asked[side] // shared < coder.present)
            paused = writes and writing == side
            asked[side] += port.step(len(row) if there else None, taken, paused)
            read[side] += taken
        if appended:
            writing = int(coder.kind(coder.scaled) == "value")
        wants = coder.appends
        final = coder.final
        coder.step(code, last, code_ready, wants and append.free, appended,
                   scale and scale_of_query and found.query_scale)
        append.step(wants, word_offered, final)
        step = quantiser.step(n if fed < len(order) else None,
                              len(entered) < count and offered[len(entered)] <= cycle,
                              code_ready, scale_ready)
        fed += step.command
        if step.word:
            entered.append(cycle)
        if cycle == 1:  # attention is told in this cycle
            engine.waiting = [passes, passes]
        cycle += 1
    return CommandCycles(entered, out, scale_out, done)
