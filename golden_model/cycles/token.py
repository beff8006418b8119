# SPDX-License-Identifier: Apache-2.0
"""Cycles of a token: its instructions, one after the other."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from golden_model.control import token_run
from golden_model.cycles.attend import Attended, attend
from golden_model.cycles.chunk import ChunkRounds
from golden_model.cycles.embed import embed
from golden_model.cycles.engine import ArrayRun, FreeRun
from golden_model.cycles.facts import LayerFacts, TokenFacts
from golden_model.cycles.head import Head, head, long_head
from golden_model.cycles.port import image_latency
from golden_model.cycles.projections import feed_forward, output
from golden_model.cycles.vectors import DIGITS, Quantised, quantise
from golden_model.decoder_config import DecoderConfig
from golden_model.head_config import PLANES
from golden_model.mac.tile_loader import Command
from golden_model.program import Instruction

__all__ = ["DecoderCycles", "InstructionCycles"]

ADVANCE = 1
"""Cycles of the cache's advance at the end of a token: nobody else asks it for anything."""

ISSUE = 2
"""Cycles from an instruction's last beat to its offer: the buffer, then the output register."""


class InstructionCycles(NamedTuple):
    """One instruction of a token; cycles count from the token's offer."""

    name: str
    first: int
    """It is offered."""
    last: int
    """It is accepted."""

    @property
    def cycles(self) -> int:
        """How long it stands."""
        return self.last - self.first + 1


class DecoderCycles:
    """Every cycle of the tokens that a program decodes, its image being on the chip.

    A token is offered to a decoder at rest, the successors that it gives are taken at once.  What
    does not depend on data is computed once; the rest is the columns of Wo and Wdown and the up
    rows.

    Parameters
    ----------
    program
        Of the compiled model, its ``end`` included.
    head_instructions
        Last ones of it, which a token without a successor leaves out.
    """

    def __init__(self, config: DecoderConfig, program: Sequence[Instruction],
                 head_instructions: int) -> None:
        self.config, self.program = config, tuple(program)
        self.without_head = self.program[:-head_instructions]
        self._known: dict[tuple[object, ...], tuple[int, ...]] = {}

    def token(self, facts: TokenFacts, *, skip_head: bool = False, wait: int = 0) -> int:
        """Cycles from a token's offer to its acceptance, both included.

        `wait`: cycles from the offer on in which the cache still works on another command.
        """
        # The run is accepted in the cycle behind its last instruction; its offer was in cycle 1.
        run = self.instructions(facts, skip_head=skip_head)[-1].last + 1
        return token_run.token_cycles(run, ADVANCE).done + 1 + wait

    def chunk(self, facts: Sequence[TokenFacts], *, skip_head: bool = False,
              wait: int = 0) -> int:
        """Cycles of tokens that share their weights, as of one token."""
        run = self.instructions(*facts, skip_head=skip_head)[-1].last + 1
        return token_run.token_cycles(run, ADVANCE).done + 1 + wait

    def instructions(self, *facts: TokenFacts,
                     skip_head: bool = False) -> list[InstructionCycles]:
        """Cycles of each instruction of one token, or of several that share their weights."""
        program = self.without_head if skip_head else self.program
        kind = _Chunk if self.config.array.batch > 1 else _Token
        token = kind(self, program, facts)
        # The first one is asked for in the cycle after the run's offer, the next one each time as
        # soon as this one has left the buffer.
        fetch = image_latency(self.config) + self.config.sequencer.beats - 1
        start = 1 + 1 + fetch + ISSUE
        done: list[InstructionCycles] = []
        for number, each in enumerate(program):
            done.append(InstructionCycles(each.name, start, token.end(number, start)))
            start = max(start + fetch + ISSUE, done[-1].last + 1)
        return done

    def once(self, key: tuple[object, ...], start: int,
             compute: Callable[[], Sequence[int]]) -> list[int]:
        """Return cycles from `start` on that were computed from 0 on, now or before."""
        if key not in self._known:
            self._known[key] = tuple(compute())
        return [start + cycle for cycle in self._known[key]]


class _Token:
    """What one instruction of a token leaves to the next."""

    def __init__(self, parent: DecoderCycles, program: Sequence[Instruction],
                 facts: Sequence[TokenFacts]) -> None:
        self.config, self.once = parent.config, parent.once
        self.program, self.facts, self.layers = program, facts[-1], iter(facts[-1].layers)
        self.layer = self.facts.layers[0]
        self.codes, self.command = Quantised(0, 0, 0), Command(1, 1)
        self.words = 0
        """Last word of the first pass over what attention gave."""

    def end(self, number: int, start: int) -> int:
        """Cycle in which instruction `number` is accepted, which is offered in cycle `start`."""
        config, each = self.config, self.program[number]
        fields, run, scaled = each.fields, self.codes.run, self.codes.scaled
        follows = config.sequencer.beats if number + 1 < len(self.program) else 0
        if each.name == "embed":
            return embed(config, fields, start, follows)
        if each.name == "quantise":
            self.codes = Quantised(*self.once(
                (number, follows), start, lambda: quantise(config, fields, 0, follows)))
            self.command = Command(fields["blocks"], fields["tiles"], DIGITS[fields["format"]])
            return self.codes.end
        if each.name == "attend":
            self.layer, after = next(self.layers), self.program[number + 1].fields
            found = Attended(*self.once(
                (fields["heads"], fields["n"], after["n"], self.facts.rows, *self.key(start)),
                start, lambda: attend(config, fields, after, self.facts.rows,
                                      self.array(run - start, 0, follows), 0, scaled - start)))
            self.words = found.words
            return found.end
        if each.name == "output":
            return output(config, self.program[0].fields["n"], self.layer.output, start,
                          self.words)
        if each.name == "feed_forward":
            kind = FreeRun if FreeRun.fits(config, self.command, run, start) else ArrayRun
            return feed_forward(config, fields, self.program[0].fields["n"], self.layer,
                                kind(config, self.command, run, start, follows), start, scaled)
        if each.name == "head":
            drawn = self.facts.drawn
            last = Head(*self.once(
                (fields["vocab"], drawn is not None, *self.key(start)), start,
                lambda: long_head(
                    lambda vocab: head(config, vocab, self.planes(vocab, run - start, follows), 0,
                                       scaled - start, drawn is not None),
                    fields["vocab"], config.array.rows)))
            return last.end(config, fields["vocab"], drawn)
        return start

    def array(self, run: int, start: int, follows: int) -> ArrayRun:
        """Return the array, its activations in place in cycle `run`, its weights asked for."""
        return ArrayRun(self.config, self.command, run, start, follows)

    def planes(self, vocab: int, run: int, follows: int) -> ArrayRun:
        """Return the array ahead of the planes of a vocabulary."""
        blocks = PLANES * -(-vocab // self.config.array.rows)
        return ArrayRun(self.config, self.command._replace(blocks=blocks), run, 0, follows)

    def key(self, start: int) -> tuple[object, ...]:
        """Return what an instruction finds that is offered in cycle `start`."""
        return self.command, self.codes.run - start, self.codes.scaled - start


class _Chunk(_Token):
    """The same of several tokens; the head is the last one's."""

    def __init__(self, parent: DecoderCycles, program: Sequence[Instruction],
                 facts: Sequence[TokenFacts]) -> None:
        super().__init__(parent, program, facts)
        self.rounds = ChunkRounds(parent.config, facts)
        self.chunk = zip(*(one.layers for one in facts), strict=True)
        self.layers_now: Sequence[LayerFacts] = ()

    def end(self, number: int, start: int) -> int:
        """Cycle in which instruction `number` is accepted, which is offered in cycle `start`."""
        config, each, rounds = self.config, self.program[number], self.rounds
        fields, hidden = each.fields, self.program[0].fields["n"]
        follows = config.sequencer.beats if number + 1 < len(self.program) else 0
        if each.name == "embed":
            return rounds.embed(fields, start, follows)
        if each.name == "quantise":
            single = DIGITS[fields["format"]] > 1
            end = rounds.quantise(fields, start, follows, single)
            self.command = Command(fields["blocks"], fields["tiles"], DIGITS[fields["format"]],
                                   tokens=1 if single else rounds.tokens)
            self.codes = Quantised(rounds.run, rounds.scaled[-1], end)
            return end
        if each.name == "attend":
            self.layers_now = next(self.chunk)
            return rounds.attend(fields, start, self.array(rounds.run, start, follows))
        if each.name == "output":
            return rounds.output(fields, hidden, self.layers_now, start, follows)
        if each.name == "feed_forward":
            return rounds.feed_forward(fields, hidden, self.layers_now, start,
                                       lambda: self.array(rounds.run, start, follows))
        return super().end(number, start)
