# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.control.sequencer`: what is executed, and in which cycle."""

from collections.abc import Sequence
from typing import NamedTuple

from golden_model.control_config import SequencerConfig
from golden_model.instruction_config import OPCODE_BITS, OPCODES
from golden_model.program import Instruction, decode

__all__ = ["Run", "execute", "schedule"]


class Run(NamedTuple):
    """What one run of a program does."""

    instructions: list[Instruction]
    """Executed, in order."""
    fault: bool
    """It ended at an opcode that there is not."""


def execute(config: SequencerConfig, memory: Sequence[int], address: int, count: int) -> Run:
    """Run `count` instructions from `address` of a memory of beats, or fewer, up to an ``end``.

    An ``end`` is the last that is executed.
    """
    done: list[Instruction] = []
    for first in range(address, address + count * config.beats, config.beats):
        word = sum(memory[first + n] << (n * config.port.beat_bits) for n in range(config.beats))
        if word & (1 << OPCODE_BITS) - 1 >= len(OPCODES):
            return Run(done, True)
        done.append(decode(word))
        if done[-1].name == "end":
            break
    return Run(done, False)


def schedule(config: SequencerConfig, latency: int, busy: Sequence[int],
             more: bool = False) -> tuple[list[int], int]:
    """State cycles of a run, counted from that in which ``i_run`` is offered.

    Parameters
    ----------
    latency
        Cycles from a burst's request to its first beat.
    busy
        Cycles from each instruction's first on ``o`` to the one in which it is accepted.
    more
        The run does not end by its count but by its last instruction, an ``end``, or by an opcode
        behind it that there is not; the instruction after the last of `busy` is fetched too.

    Returns
    -------
    offered, end
        First cycle of each instruction on ``o``, and the cycle in which ``i_run`` is accepted.
    """
    offered: list[int] = []
    fetched = 1 + latency + config.beats - 1   # cycle of an instruction's last beat
    cycle = 0
    for n, duration in enumerate(busy):
        cycle = max(fetched + 1, cycle)
        offered.append(cycle + 1)
        if n + 1 < len(busy) or more:
            # The next one is asked for as soon as this one has left the buffer.
            fetched = cycle + 1 + latency + config.beats - 1
        cycle = offered[-1] + duration
    return offered, cycle + 1
