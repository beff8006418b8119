# SPDX-License-Identifier: Apache-2.0
"""What is known of each sequence: its length, its size once saved, the token that follows."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden_model.system_config import TokenLoopConfig
from hw.image.checker import header_layout

__all__ = ["Sequences"]

POSITION_BITS = 20
WORDS_BITS = 30


class Sequences(wiring.Component):
    """A row for each slot; changes take effect in the next cycle.

    Members
    -------
    slot : :py:`In(12)`
        Which one is read and changed.
    header : :py:`In(header_layout)`
    open, position, words, following, has_following : :py:`Out(...)`
        Whether the slot was used; its tokens; words of its rows once saved; the token that was
        generated last, if nothing was read or restored since.
    forget : :py:`In(1)`
        Close every slot.
    clear : :py:`In(1)`
        Open the slot, empty.
    advance : :py:`In(1)`
        A token was read; `token` follows it, if `with_following`.
    restore : :py:`In(1)`
        The slot holds `restored` tokens and `restored_words`.
    shown_slot, shown
        A second look at a position.
    """

    def __init__(self, config: TokenLoopConfig):
        self.config = config
        super().__init__({
            "slot": In(12), "header": In(header_layout),
            "open": Out(1), "position": Out(POSITION_BITS), "words": Out(WORDS_BITS),
            "following": Out(24), "has_following": Out(1),
            "forget": In(1), "clear": In(1),
            "advance": In(1), "token": In(24), "with_following": In(1),
            "restore": In(1), "restored": In(POSITION_BITS), "restored_words": In(WORDS_BITS),
            "shown_slot": In(12), "shown": Out(POSITION_BITS),
        })

    def elaborate(self, platform):
        m = Module()
        count = self.config.slots
        row = data.StructLayout({"open": 1, "position": POSITION_BITS, "words": WORDS_BITS,
                                 "following": 24, "has_following": 1})
        rows = [Signal(row, name=f"row_{n}") for n in range(count)]
        now, new = Signal(row), Signal(row)
        for n, one in enumerate(rows):
            with m.If(self.slot == n):
                m.d.comb += now.eq(one)
            with m.If(self.shown_slot == n):
                m.d.comb += self.shown.eq(one.position)
        m.d.comb += [getattr(self, name).eq(now[name]) for name in row.members]

        change = self.clear | self.advance | self.restore
        grown = now.position < self.header.window
        m.d.comb += [
            new.open.eq(1),
            new.position.eq(Mux(self.advance, now.position + 1,
                                Mux(self.restore, self.restored, 0))),
            new.words.eq(Mux(self.advance, now.words + Mux(grown, self.header.state_words, 0),
                             Mux(self.restore, self.restored_words, 0))),
            new.following.eq(self.token),
            new.has_following.eq(self.advance & self.with_following),
        ]
        for n, one in enumerate(rows):
            with m.If(self.forget):
                m.d.sync += one.eq(0)
            with m.Elif(change & (self.slot == n)):
                m.d.sync += one.eq(new)
        return m
