# SPDX-License-Identifier: Apache-2.0
"""How units take part in instructions: who is offered what in which, and when one is done."""

from amaranth import *
from amaranth.lib import data

from golden_model.instruction_config import FIELDS, OPCODES

__all__ = ["Dispatch"]

NARROW = 2
"""Bits of a field up to which it may say what a unit does, in the same cycle."""


class Dispatch:
    """Instructions of a :class:`hw.control.sequencer.Sequencer` in a module of several units.

    Every unit that takes part in an instruction has a flag, which its transfer sets.  The
    instruction is accepted in the cycle in which all flags of its units stand, and clears them.

    Parameters
    ----------
    m
        Module that the units are in.
    instruction
        Stream of instructions.
    op, others
        Opcode on it, a bit for each; and the complement, for choices of what units are offered.
    tokens
        How many tokens there are, up to `batch`, if that is above 1.  Then an instruction has a
        round for each token, which clears the flags as an instruction does; the last round accepts
        it.
    batch
        Most tokens.

    Attributes
    ----------
    op : dict
        Whether an instruction of each name is in work.
    choice : dict
        The same, of registers that have many loads: for wide choices.
    fields : dict
        Its fields.
    done
        The instruction in work is accepted in this cycle.
    round
        A round of it ends in this cycle; the same without a batch.
    token
        Whose round it is; None without a batch.
    turn
        The same as a payload's field, none without a batch.
    first
        It is the instruction's first round.
    single
        To be driven: only the last token has a round.
    """

    def __init__(self, m, instruction, op, others, tokens=None, batch=1):
        self.m, self.done = m, Signal()
        self.round, self.first, self.token, self.turn = self.done, C(1, 1), None, {}
        if batch > 1:
            self.rounds(tokens, batch)
        self.op, self.fields, self._needs = {}, {}, {name: [] for name in FIELDS}
        self.choice = {}
        for name, code in OPCODES.items():
            layout = data.StructLayout(FIELDS[name])
            self.op[name] = Signal(name=f"op_{name}")
            self.fields[name] = data.View(layout, instruction.p.fields[:layout.size])
            self.choice[name] = Signal(name=f"choice_{name}")
            m.d.comb += [self.op[name].eq(op[code]), self.choice[name].eq(~others[code])]
        m.d.comb += instruction.ready.eq(self.done)

    def rounds(self, tokens, batch):
        """Count the rounds of an instruction."""
        self.round, self.first, self.single = (Signal(name=name) for name in (
            "round", "first_round", "single"))
        self.token = Signal(range(batch), name="round_token")
        self.turn = {"token": self.token}
        number = Signal(range(batch), name="round_number")
        last = self.single | (number + 1 == tokens)
        self.m.d.comb += [self.done.eq(self.round & last), self.first.eq(number == 0),
                          self.token.eq(Mux(self.single, tokens - 1, number))]
        with self.m.If(self.round):
            self.m.d.sync += number.eq(Mux(last, 0, number + 1))

    def flag(self, name, event, *instructions, once=False):
        """Return a flag that stands from `event` on until the instruction's round ends.

        Those of `instructions` do not end without it, in the first round if it comes only `once`.
        """
        flag = Signal(name=name)
        with self.m.If(event):
            self.m.d.sync += flag.eq(1)
        with self.m.If(self.round):
            self.m.d.sync += flag.eq(0)
        for each in instructions:
            self._needs[each].append(flag | ~self.first if once and self.token is not None
                                     else flag)
        return flag

    def offer(self, name, port, once=False, **instructions):
        """Offer a stream one payload in each of some instructions; return whether it was taken.

        Each instruction has a dictionary of the payload's fields, and perhaps `when`: a condition
        for the offer, which must hold until the transfer.  What is offered `once` is so in the
        first round only, and counts as taken in the others.
        """
        flag = self.flag(f"{name}_done", port.valid & port.ready, *instructions, once=once)
        if once and self.token is not None:
            taken = Signal(name=f"{name}_taken")
            self.m.d.comb += taken.eq(flag | ~self.first)
            flag = taken
        self.m.d.comb += port.valid.eq(~flag & Cat(
            self.op[instruction] & fields.get("when", 1)
            for instruction, fields in instructions.items()).any())
        # The first instruction's payload stands whenever no other is in work: fewer choices.
        first, *others = instructions
        for field in dict.fromkeys(field for fields in instructions.values() for field in fields):
            if field != "when":
                to = port.p[field]
                self.m.d.comb += self.given(to, instructions[first], field)
                bits = self.choice if len(Value.cast(to)) > NARROW else self.op
                for instruction in others:
                    with self.m.If(bits[instruction]):
                        self.m.d.comb += self.given(to, instructions[instruction], field)
        return flag

    @staticmethod
    def given(to, fields, field):
        """Return the assignment of one field; what an instruction does not give is zero."""
        return to.eq(fields[field]) if field in fields else Value.cast(to).eq(0)

    def close(self):
        """Make `done`; to be called when every unit is connected."""
        # One is in work at most: no choice of the first one among them.
        self.m.d.comb += self.round.eq(Cat(
            self.op[name] & Cat(flags, C(1, 1)).all()
            for name, flags in self._needs.items()).any())
