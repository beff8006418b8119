# SPDX-License-Identifier: Apache-2.0
"""What the KV cache knows of its sequences: how long each is, and where its ring begins."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.kv_config import KvCacheConfig
from hw.kv.layouts import (
    ERROR_LAYOUT,
    Events,
    Move,
    Operation,
    append_layout,
    control_layout,
    geometry_layout,
    read_layout,
    walk_layout,
)

__all__ = ["SlotTable", "finding_layout"]


def finding_layout(config: KvCacheConfig):
    """Return the layout of what the table says of one stream of a slot.

    `read` walks every row that a read gives, `append` the place of the next one.  `slot` and
    `stream` say that there is no such slot or stream; then the walks mean nothing.  A walk of keys
    is `bare` while only one side has its row of the token in progress.  Of a read that asks for the
    `newest` row `lacks` says whether that has yet to come, of keys and of values.
    """
    return data.StructLayout({
        "slot": 1, "stream": 1, "appended": 1, "pending": 1, "lacks": 2,
        "length": range(config.window + 1), "index": walk_layout(config)["index"].shape,
        "read": walk_layout(config), "append": walk_layout(config),
    })


class SlotTable(wiring.Component):
    """Geometry, and per slot its length, the place of its next row, and what this token lacks.

    A token at position p sees the ``window - 2`` tokens ahead of it, itself, and token 0; so a ring
    of ``window - 1`` rows holds what is not the first token's.  One bit a stream and side tells
    whether its row of the token in progress has come; it changes its meaning with every token, so
    that nothing has to be cleared.

    Findings are out the cycle after `look` was high and stay until the next; they follow what
    happens meanwhile.  Operations take 1 cycle (advance), 1 + streams (clear) and
    slots + words + window (configure), less what a configure that fails leaves out.

    With ``config.batch`` above 1 several tokens of one slot may be in progress, one stream after
    another going through all of them: an advance with a `move` makes the next one the newest, or
    the first one again.  One without completes all up to the newest one.  Tokens that are not
    completed, as those of a run that failed, leave their slot as it is until it is cleared.

    Members
    -------
    i : :py:`In(stream.Signature(control_layout(config)))`
        ``CONFIGURE``, ``CLEAR``, ``ADVANCE``; anything else is ignored.
    geometry : :py:`Out(geometry_layout(config))`
    look_k, look_v : In
        Look up ``i_k``, ``i_v`` (:py:`read_layout(config)`): ``o_k``, ``o_v``.
    look_append : In
        Look up ``i_append`` (:py:`append_layout(config)`): ``o_append``.
    appended : In
        The stream last looked up for appending has its row.
    close, fill : In
        Close that slot; or make it a token longer, with no questions asked.
    errors : Out
        Errors of operations, for one cycle.
    """

    def __init__(self, config: KvCacheConfig):
        self.config = config
        ports = {"i": In(stream.Signature(control_layout(config))),
                 "geometry": Out(geometry_layout(config)), "errors": Out(ERROR_LAYOUT),
                 "lengths": Out(data.ArrayLayout(range(config.window + 1), config.slots))}
        for name, layout in (("k", read_layout), ("v", read_layout), ("append", append_layout)):
            ports |= {f"look_{name}": In(1), f"i_{name}": In(layout(config)),
                      f"o_{name}": Out(finding_layout(config))}
        super().__init__(ports | {name: In(1) for name in ("appended", "close", "fill")})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        slot_layout = data.StructLayout({
            "open": 1, "phase": 1, "length": range(config.window + 1),
            "lacking": range(2 * config.sinks * config.batch + 1),
            "code": walk_layout(config)["code"].shape, "scale": walk_layout(config)["scale"].shape,
        })
        slots = Signal(data.ArrayLayout(slot_layout, config.slots))
        bases = Signal(data.ArrayLayout(range(config.sinks + 1), config.slots))
        m.d.comb += [to.eq(slot.length) for to, slot in zip(self.lengths, slots)]

        # One bit a stream, of keys and of values; each looked at from two sides.
        flags = []
        for side in "kv":
            m.submodules[f"flags_{side}"] = cells = memory.Memory(
                shape=1, depth=config.sinks, init=[])
            flags.append(cells)
        marks = [cells.write_port() for cells in flags]
        command = Signal.like(self.i_append)
        with m.If(self.look_append):
            m.d.sync += command.eq(self.i_append)
        # A read of keys gives the values' scales too: it has to know of both sides' rows.
        self.look_up(m, slots, bases, "k", flags, marks)
        self.look_up(m, slots, bases, "v", flags[1:], marks[1:])
        self.look_up(m, slots, bases, "append", flags, marks)

        mine = slots[command.slot]
        for value, mark in enumerate(marks):
            m.d.comb += [mark.addr.eq(self.o_append.index), mark.data.eq(~mine.phase),
                         mark.en.eq(self.appended & (command.value == value))]
        with m.If(self.appended):
            m.d.sync += mine.lacking.eq(mine.lacking - 1)
        with m.If(self.close):
            m.d.sync += mine.open.eq(0)
        with m.If(self.fill):
            self.grow(m, mine)

        self.operate(m, slots, bases, marks)
        return m

    def look_up(self, m, slots, bases, name, cells, marks):
        """Find out about one stream of a slot."""
        shape = self.geometry
        look, asked = getattr(self, f"look_{name}"), getattr(self, f"i_{name}")
        found = getattr(self, f"o_{name}")
        held = Signal.like(asked, name=f"held_{name}")
        bit = Signal(name=f"bit_{name}")
        # Not read from the fields of `found`: blocks that wait for any change of a vector of which
        # they set other bits would, in Icarus, never come to rest.
        appended = Signal(name=f"appended_{name}")
        seen = Signal(name=f"seen_{name}")  # it counts as appended
        lacks = Signal(2, name=f"lacks_{name}")
        index = Signal.like(found.index, name=f"index_{name}")
        with m.If(look):
            m.d.sync += held.eq(asked)
        looked, read = Signal(name=f"looked_{name}"), []
        m.d.sync += looked.eq(look)
        for memory_, mark in zip(cells, marks):
            # Not held by the enable: the bit may change after it was looked up.  Of both, as `look`
            # comes late in its cycle.
            ports = [memory_.read_port(transparent_for=[mark]) for _ in range(2)]
            for port, at in zip(ports, (asked, held)):
                m.d.comb += [port.addr.eq(bases[at.slot] + at.stream), port.en.eq(1)]
            read.append(Mux(looked, *(port.data for port in ports)))
        m.d.comb += bit.eq(Mux(held.value, read[-1], read[0]) if name == "append" else read[0])

        slot = slots[held.slot]
        full = slot.length == shape.window
        after = slot.code + shape.code_step  # the row behind the next one's place
        after_scale = slot.scale + shape.stride
        rows = Signal(range(self.config.window), name=f"rows_{name}")
        code = Signal.like(found.read.code, name=f"code_{name}")
        scale = Signal.like(found.read.scale, name=f"scale_{name}")
        bare = C(0)
        m.d.comb += seen.eq(appended)
        if name != "append":
            missing = Cat(one == slot.phase for one in read)
            # Values' rows do not need the keys'.
            m.d.comb += [lacks.eq((missing if name == "k" else missing << 1)
                                  & held.newest.replicate(2)), seen.eq(appended | held.newest)]
        if name == "k":
            bare = (read[0] != read[-1]) & ~held.newest
        with m.If(full):
            m.d.comb += rows.eq(slot.length - 1)
            with m.If(seen):
                m.d.comb += [code.eq(Mux(after == shape.code_end, 0, after)),
                             scale.eq(Mux(after_scale == shape.scale_end, 0, after_scale))]
            with m.Else():
                m.d.comb += [code.eq(slot.code), scale.eq(slot.scale)]
        with m.Elif(slot.length != 0):
            m.d.comb += rows.eq(slot.length - 1 + seen)
        m.d.comb += [
            found.slot.eq(~slot.open | (held.slot >= shape.slots)),
            found.stream.eq(held.stream >= shape.streams),
            appended.eq(bit != slot.phase),
            found.appended.eq(appended),
            found.pending.eq(slot.lacking != shape.streams << 1),
            found.length.eq(slot.length),
            index.eq(bases[held.slot] + held.stream),
            found.index.eq(index),
            # In one piece each, as some of their bits are constant; see `Events`.
            found.lacks.eq(lacks),
            found.read.eq(self.walk(C(1, 1), rows, index, code, scale, bare)),
            found.append.eq(self.walk(slot.length == 0, slot.length != 0, index, slot.code,
                                      slot.scale)),
        ]

    def walk(self, bos, rows, index, code, scale, bare=0):
        """Return the bits of a walk without poison."""
        fields = {"bos": bos, "rows": rows, "poison": C(0, 1), "bare": bare | C(0, 1),
                  "index": index, "code": code, "scale": scale}
        layout = walk_layout(self.config)
        return Cat((fields[name] | C(0, Shape.cast(field.shape).width))[
            :Shape.cast(field.shape).width] for name, field in layout)

    def grow(self, m, slot):
        """Make a slot one token longer; from the second on its next row lies one row on."""
        shape = self.geometry
        with m.If(slot.length != shape.window):
            m.d.sync += slot.length.eq(slot.length + 1)
        with m.If(slot.length != 0):
            code, scale = slot.code + shape.code_step, slot.scale + shape.stride
            m.d.sync += [slot.code.eq(Mux(code == shape.code_end, 0, code)),
                         slot.scale.eq(Mux(scale == shape.scale_end, 0, scale))]

    def operate(self, m, slots, bases, marks):
        """Configure, clear, advance."""
        config, shape = self.config, self.geometry
        asked, errors = self.i.payload, Events()
        m.d.comb += self.errors.eq(errors.as_value())
        count = Signal(range(max(config.sinks, config.window, config.slots, config.row_words) + 1))
        slot = Signal.like(asked.slot)
        advances, ahead = asked.op == Operation.ADVANCE, []
        if config.batch > 1:
            ahead = self.move(m, slots, errors)
            advances = advances & (asked.move == Move.SAME)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [count.eq(0), slot.eq(asked.slot)]
                with m.If(self.i.valid & (asked.op == Operation.CONFIGURE)):
                    m.d.sync += [shape.eq(0), *(one.open.eq(0) for one in slots)]
                    m.d.sync += [one.length.eq(0) for one in slots]
                    zero = ((asked.slots == 0) | (asked.streams == 0) | (asked.words == 0)
                            | (asked.window < 2))
                    wide = ((asked.slots > config.slots) | (asked.words > config.row_words)
                            | (asked.window > config.window) | (asked.streams > config.sinks))
                    with m.If(zero | wide):
                        m.d.comb += errors.geometry.eq(1)
                    with m.Else():
                        m.d.sync += [shape.slots.eq(asked.slots), shape.streams.eq(asked.streams),
                                     shape.words.eq(asked.words), shape.window.eq(asked.window)]
                        m.next = "SLOTS"
                with m.If(self.i.valid & (asked.op == Operation.CLEAR)):
                    with m.If(asked.slot < shape.slots):
                        m.next = "CLEAR"
                    with m.Else():
                        m.d.comb += errors.slot.eq(1)
                with m.If(self.i.valid & advances):
                    one = slots[asked.slot]
                    with m.If((asked.slot >= shape.slots) | ~one.open):
                        m.d.comb += errors.slot.eq(1)
                    with m.Elif(one.lacking != 0):
                        m.d.comb += errors.incomplete.eq(1)
                    with m.Else():
                        m.d.sync += [one.phase.eq(~one.phase), one.lacking.eq(shape.streams << 1),
                                     *(each.eq(0) for each in ahead)]
                        self.grow(m, one)

            with m.State("SLOTS"):  # bases of the slots, and the stride
                stride = shape.stride + shape.streams
                m.d.sync += [count.eq(count + 1), bases[count].eq(shape.stride)]
                with m.If(stride > config.sinks):
                    m.d.comb += errors.geometry.eq(1)
                    m.d.sync += shape.eq(0)
                    m.next = "IDLE"
                with m.Else():
                    m.d.sync += shape.stride.eq(stride)
                    with m.If(count + 1 == shape.slots):
                        m.d.sync += count.eq(0)
                        m.next = "WORDS"
            with m.State("WORDS"):
                m.d.sync += [count.eq(count + 1),
                             shape.code_step.eq(shape.code_step + shape.stride)]
                with m.If(count + 1 == shape.words):
                    m.d.sync += count.eq(1)
                    m.next = "RING"
            with m.State("RING"):  # ends of the rings of window - 1 rows
                scale_end = shape.scale_end + shape.stride
                m.d.sync += count.eq(count + 1)
                with m.If(scale_end > config.rows):
                    m.d.comb += errors.geometry.eq(1)
                    m.d.sync += shape.eq(0)
                    m.next = "IDLE"
                with m.Else():
                    m.d.sync += [shape.scale_end.eq(scale_end),
                                 shape.code_end.eq(shape.code_end + shape.code_step)]
                    with m.If(count + 1 == shape.window):
                        m.next = "IDLE"

            with m.State("CLEAR"):
                for mark in marks:
                    m.d.comb += [mark.en.eq(1), mark.addr.eq(bases[slot] + count),
                                 mark.data.eq(0)]
                m.d.sync += count.eq(count + 1)
                with m.If(count + 1 == shape.streams):
                    one = slots[slot]
                    m.d.sync += [one.eq(0), one.open.eq(1), one.lacking.eq(shape.streams << 1),
                                 *(each.eq(0) for each in ahead)]
                    m.next = "IDLE"

    def move(self, m, slots, errors):
        """Go through the tokens in progress; return what an advance makes zero."""
        asked, one = self.i.payload, slots[self.i.p.slot]
        ahead, most = (Signal(range(self.config.batch), name=name) for name in ("ahead", "most"))
        first = Signal(slots.shape().elem_shape, reset_less=True)   # of the slot at the first token
        owner = Signal.like(asked.slot)   # which slot that is
        usable = (asked.slot < self.geometry.slots) & one.open
        moves = self.i.valid & self.i.ready & (asked.op == Operation.ADVANCE)
        with m.If(moves & (asked.move == Move.NEXT)):
            with m.If(usable & (ahead != self.config.batch - 1)):
                m.d.sync += [ahead.eq(ahead + 1), one.phase.eq(~one.phase)]
                self.grow(m, one)
                with m.If(ahead == 0):
                    m.d.sync += [first.eq(one), owner.eq(asked.slot)]
                with m.If(ahead == most):
                    m.d.sync += [most.eq(most + 1),
                                 one.lacking.eq(one.lacking + (self.geometry.streams << 1))]
            with m.Else():
                m.d.comb += errors.slot.eq(1)
        with m.If(moves & (asked.move == Move.FIRST) & (ahead != 0)):
            m.d.sync += ahead.eq(0)
            with m.If(owner == asked.slot):
                m.d.sync += [one[name].eq(first[name])
                             for name in ("phase", "length", "code", "scale")]
            with m.Else():   # tokens that never were completed
                m.d.sync += most.eq(0)
        return ahead, most
