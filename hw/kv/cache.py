# SPDX-License-Identifier: Apache-2.0
"""KV cache: rows of keys and values of several sequences, a window of each with its first token."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.kv_config import BEAT_BITS, KvCacheConfig
from hw.control.slack import Slack
from hw.kv.bank import Bank
from hw.kv.deserialiser import Deserialiser
from hw.kv.layouts import (
    ERROR_LAYOUT,
    Events,
    Operation,
    append_layout,
    control_layout,
    key_word_layout,
    read_layout,
    row_word_layout,
    same_stream,
    value_word_layout,
)
from hw.kv.reader import Reader
from hw.kv.row_walk import RowWalk
from hw.kv.serialiser import Serialiser, send
from hw.kv.slot_table import SlotTable

__all__ = ["KvCache"]

CORRECTED_BITS = 16


class KvCache(wiring.Component):
    """Append rows of codes, read all rows that the newest token sees.

    A *slot* holds one sequence, a *stream* is one KV head of one layer.  A read gives the first
    token's row, then the visible rows, oldest first, the row of the token in progress too if it
    has been appended: a word a cycle, without a gap between rows or between commands, the first
    word ``config.read_latency`` cycles after its command.  Keys bring the scales of the values
    with them, which attention needs ahead of the values: zeros while only one side of the stream
    has its row of the token in progress.  An appended row takes its words and two cycles.

    Commands take effect in the order in which they are accepted.  So a read waits for the end of
    an append to the same slot, stream and side, one of keys for one of values too; an append for
    the last address of such a read, and a control command for both, while no other is accepted.
    Everything else goes on in parallel.

    A read with `newest` gives the row of the token in progress too, and waits at that one only, the
    last, until it is written, of keys until the value's is too.  Those appends must be accepted
    ahead of a control command or another read without it.

    What does not work sets a sticky bit of ``errors`` and changes nothing, but that a row of a
    wrong number of words closes its slot.  A read that does not work gives one row of zeros with
    scale zero; a word with two flipped bits gives zeros.

    What the banks read stops at a register: their addresses wait for none who takes the words.
    ``ready`` of the command streams depends on ``i_control.valid`` and on their own payload, that
    of `i_read_k` and `i_read_v` on `i_append` as well.

    Members
    -------
    i_control : :py:`In(stream.Signature(control_layout(config)))`
        ``CONFIGURE``: the model's geometry (`slots`, `streams` of each, `words` of a row,
        `window`); closes every slot.  ``CLEAR``: open `slot`, empty.  ``ADVANCE``: the token in
        progress of `slot` is complete.  ``SAVE``: all rows of `slot`, between two tokens.
        ``RESTORE``: open `slot` with the `length` tokens that follow on `i_restore`.
        The next command is accepted when the one before is done.
    i_append : :py:`In(stream.Signature(append_layout(config)))`
        Whose row comes next on `i_row`.
    i_row : :py:`In(stream.Signature(row_word_layout(config)))`
        Of a code that is stored in fewer bits the lower ones count.
    i_read_k, i_read_v : :py:`In(stream.Signature(read_layout(config)))`
    o_k, o_v : :py:`Out(stream.Signature(key_word_layout(config)))` and ``value_word_layout``
    o_save : :py:`Out(stream.Signature(32))`
        Keys, then values; of each the streams in turn; of each its rows, oldest first, as
        :mod:`golden_model.kv.serialiser` writes them.
    i_restore : :py:`In(stream.Signature(32))`
        The same; any slot and any cache whose window is large enough.
    errors : :py:`Out(ERROR_LAYOUT)`
        Sticky.
    corrected : :py:`Out(16)`
        Words with a flipped bit that was corrected; stays at its largest value.
    clear_errors : In
        Clears both.
    lengths : Out
        Tokens that each slot holds, at most the window.
    idle : Out
        No control command is at work.
    """

    def __init__(self, config: KvCacheConfig):
        self.config = config
        self.keys, self.values = Bank(config), Bank(config, keys=False)
        super().__init__({
            "i_control": In(stream.Signature(control_layout(config))),
            "i_append": In(stream.Signature(append_layout(config))),
            "i_row": In(stream.Signature(row_word_layout(config))),
            "i_read_k": In(stream.Signature(read_layout(config))),
            "i_read_v": In(stream.Signature(read_layout(config))),
            "o_k": Out(stream.Signature(key_word_layout(config))),
            "o_v": Out(stream.Signature(value_word_layout(config))),
            "o_save": Out(stream.Signature(BEAT_BITS)),
            "i_restore": In(stream.Signature(BEAT_BITS)),
            "errors": Out(ERROR_LAYOUT), "corrected": Out(CORRECTED_BITS), "clear_errors": In(1),
            "lengths": Out(data.ArrayLayout(range(config.window + 1), config.slots)),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.keys, m.submodules.values = banks = self.keys, self.values
        m.submodules.table = table = SlotTable(config)
        m.submodules.read_k, m.submodules.read_v = readers = Reader(config), Reader(config)
        m.submodules.room_k, m.submodules.room_v = rooms = [Slack(bank.o.p.shape())
                                                            for bank in banks]
        m.submodules.writer = writer = RowWalk(config)
        m.submodules.serialiser = serialiser = Serialiser(config)
        m.submodules.deserialiser = deserialiser = Deserialiser(config)
        wiring.connect(m, serialiser.o, wiring.flipped(self.o_save))
        m.d.comb += [self.lengths.eq(table.lengths), writer.geometry.eq(table.geometry),
                     deserialiser.words.eq(table.geometry.words)]

        # What is at work, and what is waited for.
        appending = Signal(append_layout(config))
        append_busy, held, saving, written = Signal(), Signal(), Signal(), Signal()
        saved = Signal(append_layout(config))  # the stream that is saved or restored
        appends = self.i_append.valid & self.i_append.ready
        for value, (bank, room, reader, command, out) in enumerate(zip(
                banks, rooms, readers, (self.i_read_k, self.i_read_v), (self.o_k, self.o_v))):
            wiring.connect(m, bank.o, room.i)
            same = (append_busy & same_rows(appending, command.p, value)
                    | appends & same_rows(self.i_append.p, command.p, value))
            blocked = held | same & ~command.p.newest
            m.d.comb += [
                reader.i.valid.eq(command.valid & ~blocked), reader.i.payload.eq(command.payload),
                command.ready.eq(reader.i.ready & ~blocked),
                reader.geometry.eq(table.geometry),
                reader.finding.eq((table.o_k, table.o_v)[value]), reader.written.valid.eq(written),
                *(reader.written[name].eq(appending[name]) for name in ("slot", "stream", "value")),
                (table.look_k, table.look_v)[value].eq(reader.i.valid & reader.i.ready),
                (table.i_k, table.i_v)[value].eq(reader.i.payload),
                out.valid.eq(room.o.valid & ~saving), out.payload.eq(room.o.payload),
                room.o.ready.eq(out.ready & ~saving),
                *(other.eq(mine) for other, mine in (
                    (reader.other.slot, self.i_append.p.slot),
                    (reader.other.stream, self.i_append.p.stream))),
            ]
        self.address(m, *banks, *readers, saving & saved.value)
        waits = held | readers[0].conflict | (self.i_append.p.value & readers[1].conflict)
        quiet = ~append_busy & ~readers[0].busy & ~readers[1].busy

        events = Events()
        self.append(m, banks, table, writer, appending, append_busy, waits, written, events)
        self.control(m, banks, rooms, table, writer, readers, serialiser, deserialiser, quiet, held,
                     saving, saved, events)
        self.count(m, banks, events, table.errors, *(reader.events for reader in readers))
        return m

    @staticmethod
    def address(m, keys, values, read_k, read_v, together):
        """Give each bank its reader's addresses, or `together` both those of keys."""
        m.d.comb += [
            keys.i_read.payload.eq(read_k.o.payload),
            keys.i_read.valid.eq(read_k.o.valid & (values.i_read.ready | ~together)),
            read_k.o.ready.eq(keys.i_read.ready & (values.i_read.ready | ~together)),
            values.i_read.payload.eq(Mux(together, read_k.o.payload, read_v.o.payload)),
            values.i_read.valid.eq(Mux(together, read_k.o.valid & keys.i_read.ready,
                                       read_v.o.valid)),
            read_v.o.ready.eq(values.i_read.ready & ~together),
        ]

    def append(self, m, banks, table, writer, appending, busy, blocked, written, events):
        """Take a row: look its stream up, then write its words."""
        found = table.o_append
        m.d.sync += written.eq(0)
        with m.FSM() as fsm:
            m.d.comb += busy.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                m.d.comb += self.i_append.ready.eq(~blocked)
                with m.If(self.i_append.valid & ~blocked):
                    m.d.comb += [table.look_append.eq(1), table.i_append.eq(self.i_append.payload)]
                    m.d.sync += appending.eq(self.i_append.payload)
                    m.next = "LOOK"
            with m.State("LOOK"):
                with m.If(found.slot | found.stream | found.appended):
                    m.d.comb += [events.slot.eq(found.slot),
                                 events.stream.eq(found.stream & ~found.slot),
                                 events.overwrite.eq(~found.stream & ~found.slot)]
                    m.next = "SKIP"
                with m.Else():
                    m.d.comb += [writer.i.valid.eq(1), writer.i.payload.eq(found.append)]
                    m.next = "ROW"
            with m.State("ROW"):
                m.d.comb += self.i_row.ready.eq(writer.o.valid)
                with m.If(self.i_row.valid & writer.o.valid):
                    m.d.comb += writer.o.ready.eq(1)
                    self.write(m, banks, appending.value, writer, self.i_row.p)
                    m.d.sync += written.eq(self.i_row.p.last | writer.o.p.last_word)
                    with m.If(self.i_row.p.last & writer.o.p.last_word):
                        m.d.comb += table.appended.eq(1)
                        m.next = "IDLE"
                    with m.Elif(self.i_row.p.last | writer.o.p.last_word):
                        m.d.comb += [events.row.eq(1), table.close.eq(1), writer.cancel.eq(1)]
                        m.next = "SKIP"
                        with m.If(self.i_row.p.last):
                            m.next = "IDLE"
            with m.State("SKIP"):
                m.d.comb += self.i_row.ready.eq(1)
                with m.If(self.i_row.valid & self.i_row.p.last):
                    m.next = "IDLE"

    @staticmethod
    def write(m, banks, value, writer, word):
        """Write one word to the bank of keys or values."""
        for number, bank in enumerate(banks):
            m.d.comb += [bank.write.eq(value == number), bank.i_write.at.eq(writer.o.payload),
                         bank.i_write.codes.eq(word.codes), bank.i_write.scale.eq(word.scale)]
        m.d.comb += banks[0].write_scale.eq(value & writer.o.p.last_word)

    def control(self, m, banks, rooms, table, writer, readers, serialiser, deserialiser, quiet,
                held, saving, saved, events):
        """Commands about whole sequences, one at a time."""
        asked, shape, found = self.i_control.p, table.geometry, table.o_append
        length = Signal.like(asked.length)
        accept = self.i_control.ready
        m.d.comb += [table.i.payload.eq(asked), self.idle.eq(~held)]

        def look():
            """Look a stream up as an append would."""
            m.d.comb += [table.look_append.eq(1), table.i_append.eq(saved)]

        def next_stream(again, done):
            """Go on with the next stream, after the last key's with the first value's."""
            m.d.sync += saved.stream.eq(saved.stream + 1)
            m.next = again
            with m.If(last_stream):
                m.d.sync += [saved.stream.eq(0), saved.value.eq(1)]
                with m.If(saved.value):
                    m.next = done

        last_stream = saved.stream + 1 == shape.streams
        with m.FSM() as fsm:
            m.d.comb += held.eq(self.i_control.valid | ~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                m.d.sync += [Cat(saved, saving).eq(0), saved.slot.eq(asked.slot),
                             length.eq(asked.length)]
                with m.If(self.i_control.valid & quiet):
                    with m.Switch(asked.op):
                        with m.Case(Operation.SAVE):
                            with m.If(Cat(each.empty for each in banks).all()
                                      & ~Cat(each.o.valid for each in rooms).any()):
                                m.d.comb += accept.eq(1)
                                m.next = "LOOK"
                        with m.Case(Operation.RESTORE):
                            m.d.comb += accept.eq(1)
                            with m.If(asked.slot >= shape.slots):
                                m.d.comb += events.slot.eq(1)
                            with m.Elif((asked.length == 0) | (asked.length > shape.window)):
                                m.d.comb += events.length.eq(1)
                            with m.Else():
                                m.d.comb += [table.i.valid.eq(1),
                                             table.i.p.op.eq(Operation.CLEAR)]
                                m.next = "CLEARED"
                        with m.Default():
                            m.d.comb += [accept.eq(1), table.i.valid.eq(1)]
                            if self.config.secded:
                                configures = asked.op == Operation.CONFIGURE
                                m.d.comb += [bank.wipe.eq(configures) for bank in banks]
                            m.next = "TABLE"
            with m.State("TABLE"):
                with m.If(table.i.ready & ~(banks[0].wiping | banks[1].wiping)):
                    m.next = "IDLE"

            with m.State("LOOK"):
                look()
                m.next = "CHECK"
            with m.State("CHECK"):
                m.next = "IDLE"
                with m.If(found.slot):
                    m.d.comb += events.slot.eq(1)
                with m.Elif(found.pending):
                    m.d.comb += events.incomplete.eq(1)
                with m.Elif(found.length == 0):
                    m.d.comb += events.unwritten.eq(1)
                with m.Else():
                    m.next = "READ"
            with m.State("READ"):
                # Scales of values come with the keys: both are read at once.
                asked_k = readers[0].i
                m.d.comb += [asked_k.p.slot.eq(saved.slot), asked_k.p.stream.eq(saved.stream),
                             asked_k.p.newest.eq(0), asked_k.valid.eq(1)]
                m.d.sync += saving.eq(1)
                m.next = "SAVE"
            with m.State("SAVE"):
                send(m, *rooms, serialiser.i, saved.value)
                with m.If(serialiser.i.valid & serialiser.i.ready & serialiser.i.p.last):
                    next_stream("READ", "IDLE")

            with m.State("CLEARED"):
                with m.If(table.i.ready):
                    m.next = "PLACE"
            with m.State("PLACE"):
                look()
                m.next = "WALK"
            with m.State("WALK"):
                m.d.comb += [writer.i.valid.eq(1), writer.i.p.bos.eq(1),
                             writer.i.p.rows.eq(length - 1), writer.i.p.index.eq(found.index)]
                m.next = "RESTORE"
            with m.State("RESTORE"):
                m.d.comb += [deserialiser.i.valid.eq(self.i_restore.valid),
                             deserialiser.i.payload.eq(self.i_restore.payload),
                             self.i_restore.ready.eq(deserialiser.i.ready)]
                with m.If(deserialiser.o.valid):
                    m.d.comb += [deserialiser.o.ready.eq(1), writer.o.ready.eq(1)]
                    self.write(m, banks, saved.value, writer, deserialiser.o.p)
                    # Values of the last stream come last: their rows are the tokens that are here.
                    m.d.comb += table.fill.eq(saved.value & last_stream & writer.o.p.last_word)
                    with m.If(writer.o.p.last):
                        next_stream("PLACE", "IDLE")

    def count(self, m, banks, own, *events):
        """Keep errors, count corrected words."""
        m.d.comb += own.uncorrectable.eq(banks[0].uncorrectable | banks[1].uncorrectable)
        seen = reduce(or_, (event.as_value() for event in events), own.as_value())
        kept = Mux(self.clear_errors, 0, self.errors.as_value())
        m.d.sync += self.errors.eq(kept | seen)
        total = self.corrected + banks[0].corrected + banks[1].corrected
        with m.If(self.clear_errors):
            m.d.sync += self.corrected.eq(0)
        with m.Elif(total[CORRECTED_BITS:].any()):
            m.d.sync += self.corrected.eq(-1)
        with m.Else():
            m.d.sync += self.corrected.eq(total)


def same_rows(append, read, value):
    """Whether an append is to what a read of that side reads: one of keys reads of values too."""
    same = same_stream(append, read)
    return same & append.value if value else same
