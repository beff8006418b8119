# SPDX-License-Identifier: Apache-2.0
"""What is proved of the KV cache, each with a bug that must break it.

Memories are small: the proofs are about control, which does not get simpler with their size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from amaranth import *

from golden_model.kv_config import KvCacheConfig
from hw.kv import bank, cache, row_walk, secded, slot_table
from hw.kv.secded import encode, protected

__all__ = ["PROOFS", "Proof"]

CONFIG = KvCacheConfig(lanes=1, rows=4, sinks=3, row_words=2, window=3, slots=1)

VALUE_SCALE_BITS = 2
"""Bits that are looked at; the others are alike."""

SLOTS = KvCacheConfig(lanes=1, rows=3, sinks=2, row_words=2, window=3, slots=2)


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One design with its properties."""

    name: str
    design: Callable
    bugs: Mapping[str, tuple[str, str, str]]
    """A bug for each property: module, text, what to put there instead."""
    engine: str = "pdr"
    apart: bool = False
    """Whether properties are proved one by one: quicker where they have little in common."""


def offer(p, port, name):
    """Offer anything on an input stream, as a stream has to be offered."""
    valid, payload = p.anything(1, f"{name}_valid"), p.anything(port.payload.shape(), name)
    p.m.d.comb += [port.valid.eq(valid), port.payload.eq(payload)]
    kept, there = p.before(port.valid & ~port.ready, f"{name}_kept")
    past, _ = p.before(port.payload, f"{name}_payload")
    p.assume(~(there & kept) | (valid & (Value.cast(port.payload) == past)))


def accept(p, port, name):
    """Take from an output stream whenever one likes."""
    p.m.d.comb += port.ready.eq(p.anything(1, f"{name}_ready"))


def walk(p):
    """Addresses of a walk are those of its rows, in order, and inside the memories."""
    p.m.submodules.dut = dut = row_walk.RowWalk(CONFIG)
    words, stride = p.constant(2, "words"), p.constant(2, "stride")
    window = p.constant(2, "window")
    p.assume((words >= 1) & (words <= 2) & (stride >= 1) & (stride <= 2) & (window >= 2))
    ring = window - 1
    step = Signal(4)
    shape = dut.geometry
    p.m.d.comb += [step.eq(words * stride), shape.words.eq(words), shape.stride.eq(stride),
                   shape.window.eq(window), shape.code_step.eq(step),
                   shape.code_end.eq(step * ring), shape.scale_end.eq(stride * ring)]
    first = p.anything(2, "first")  # the ring's row to begin with
    offered = dut.i.payload
    p.m.d.comb += [
        dut.i.valid.eq(p.anything(1, "i_valid")), offered.bos.eq(p.anything(1, "bos")),
        offered.rows.eq(p.anything(2, "rows")), offered.index.eq(p.anything(1, "index")),
        offered.code.eq(first * step), offered.scale.eq(first * stride)]
    p.assume((first < ring) & (offered.rows <= ring) & (offered.bos | (offered.rows != 0))
             & (offered.index < stride))
    accept(p, dut.o, "o")

    # The same, counted in rows and words.
    row, word, left = Signal(2), Signal(2), Signal(3)
    bos, index, active = Signal(), Signal(), Signal()
    moves = dut.o.valid & dut.o.ready
    with p.m.If(moves):
        p.m.d.sync += word.eq(Mux(word + 1 == words, 0, word + 1))
        with p.m.If(word + 1 == words):
            p.m.d.sync += [bos.eq(0), left.eq(left - 1), active.eq(left != 1)]
            with p.m.If(~bos):
                p.m.d.sync += row.eq(Mux(row + 1 == ring, 0, row + 1))
    with p.m.If(dut.i.valid & dut.i.ready):
        p.m.d.sync += [bos.eq(offered.bos), row.eq(first), word.eq(0), index.eq(offered.index),
                       left.eq(offered.rows + offered.bos), active.eq(1)]
    at = dut.o.p
    p.check("in range", ~dut.o.valid | Mux(at.bos, at.code < step, at.code < shape.code_end)
            & (at.scale < shape.scale_end + stride))
    p.check("in order", ~dut.o.valid | (
        (at.bos == bos)
        & (at.code == (Mux(bos, 0, row) * words + word) * stride + index)
        & (at.scale == Mux(bos, ring, row) * stride + index)))
    p.check("complete", (dut.o.valid == active) & (~dut.o.valid | (
        (at.last_word == (word + 1 == words)) & (at.last == (at.last_word & (left == 1))))))
    p.stable("stable", dut.o)


def table(p):
    """Pointers stay inside the memories, lengths inside the window, whatever is asked."""
    p.m.submodules.dut = dut = slot_table.SlotTable(SLOTS)
    offer(p, dut.i, "i")
    for side in ("k", "v", "append"):
        look, asked = getattr(dut, f"look_{side}"), getattr(dut, f"i_{side}")
        p.m.d.comb += [look.eq(p.anything(1, f"look_{side}")),
                       asked.eq(p.anything(asked.shape(), f"asked_{side}"))]
    # The cache asks nothing while an operation is at work, and notes rows that it looked up.
    done, fill = p.anything(1, "done"), p.anything(1, "fill")
    found = dut.o_append
    p.m.d.comb += [dut.appended.eq(done), dut.fill.eq(fill), dut.close.eq(p.anything(1, "close"))]
    works = ~(found.slot | found.stream)
    p.assume(~done | (works & ~found.appended))
    p.assume(~fill | works)
    p.assume(dut.i.ready | ~(done | fill))
    p.assume(~dut.i.valid | ~(done | fill))
    p.assume(~(done & fill))
    shape = dut.geometry
    for side in ("k", "v", "append"):
        found = getattr(dut, f"o_{side}")
        usable = ~(found.slot | found.stream) & dut.i.ready
        p.check("index", ~usable | (found.index < shape.stride))
        for place in (found.read, found.append):
            p.check("pointers", ~usable | ((place.code < shape.code_end)
                                           & (place.scale < shape.scale_end)
                                           & (place.code + shape.code_step <= shape.code_end)
                                           & (place.scale + shape.stride <= shape.scale_end)))
            p.check("rows", ~usable | (place.rows < shape.window))
        p.check("length", ~usable | (found.length <= shape.window))
    p.check("ends", (shape.scale_end <= SLOTS.rows) & (shape.stride <= SLOTS.sinks)
            & (shape.code_end <= SLOTS.rows * SLOTS.row_words)
            & (~dut.i.ready | (shape.slots == 0) | (
                (shape.stride == shape.slots * shape.streams)
                & (shape.scale_end == shape.stride * (shape.window - 1))
                & (shape.code_end == shape.scale_end * shape.words))))


def storage(config):
    """Return the design of one bank."""
    def design(p):
        """Read what was written, each word once and in order, however the reader stalls."""
        p.m.submodules.dut = dut = bank.Bank(config)
        offer(p, dut.i_read, "i_read")
        accept(p, dut.o, "o")
        write = dut.i_write
        p.m.d.comb += [dut.write.eq(p.anything(1, "write")),
                       write.eq(p.anything(write.shape(), "i_write"))]
        p.m.d.comb += dut.write_scale.eq(p.anything(1, "write_scale"))
        p.assume(~dut.write | (write.at.code < config.code_memory.depth))
        p.assume(~dut.write_scale | (write.at.scale < config.scale_memory.depth))
        p.assume(~dut.i_read.valid | (dut.i_read.p.code < config.code_memory.depth))
        # What the parent sees to: nothing is read while it is put into memory.
        late, _ = p.before(dut.write, "late")
        at, _ = p.before(write.at.code, "at")
        p.assume(~(late & dut.i_read.valid & (dut.i_read.p.code == at)))

        scaled, _ = p.before(dut.write_scale, "scaled")
        at_scale, _ = p.before(write.at.scale, "at_scale")
        p.assume(~(scaled & dut.i_read.valid & (dut.i_read.p.scale == at_scale)))

        # One place is watched, and of all words read from it any one.
        place = p.constant(write.at.code.shape(), "place")
        known, codes = Signal(), Signal(config.kv_bits)
        # The same for the scale of the value row there, which is written by itself.
        scale_place = p.constant(write.at.scale.shape(), "scale_place")
        scale_known, value_scale = Signal(), Signal(VALUE_SCALE_BITS)
        scale_fresh, scale_kept = Signal(), Signal(VALUE_SCALE_BITS)
        p.m.d.sync += [scale_fresh.eq(dut.write_scale & (write.at.scale == scale_place)),
                       scale_kept.eq(write.scale[:VALUE_SCALE_BITS])]
        with p.m.If(scale_fresh):
            p.m.d.sync += [scale_known.eq(1), value_scale.eq(scale_kept)]
        watched = dut.write & (write.at.code == place) & ~write.at.bos
        fresh, kept = Signal(), Signal(config.kv_bits)
        p.m.d.sync += [fresh.eq(watched), kept.eq(write.codes[0][:config.kv_bits])]
        with p.m.If(fresh):
            p.m.d.sync += [known.eq(1), codes.eq(kept)]
        taken, given = (dut.i_read.valid & dut.i_read.ready), dut.o.valid & dut.o.ready
        under_way = Signal(3)
        p.m.d.sync += under_way.eq(under_way + taken - given)
        marked, ahead, word = Signal(), Signal(3), Signal(config.kv_bits)
        scale_marked, scale_word = Signal(), Signal(VALUE_SCALE_BITS)
        tags = Signal(3)
        here = dut.i_read.p
        mark = (p.anything(1, "mark") & taken & ~marked & known & ~fresh & ~here.bos & ~here.poison
                & (here.code == place))
        with p.m.If(mark):
            p.m.d.sync += [marked.eq(1), ahead.eq(under_way - given), word.eq(codes),
                           scale_marked.eq(scale_known & ~scale_fresh
                                           & (here.scale == scale_place)),
                           scale_word.eq(Mux(here.bare, 0, value_scale)),
                           tags.eq(Cat(here.bos, here.last_word, here.last))]
        with p.m.If(marked & given):
            p.m.d.sync += ahead.eq(ahead - 1)
            with p.m.If(ahead == 0):
                p.m.d.sync += marked.eq(0)
        out = dut.o.p
        mine = marked & (ahead == 0) & dut.o.valid
        p.check("read after write", ~mine | (out.codes[0] == word))
        p.check("scale after write", ~(mine & scale_marked)
                | (out.value_scale[:VALUE_SCALE_BITS] == scale_word))
        p.check("tags", ~mine | (Cat(out.bos, out.last_word, out.last) == tags))
        p.check("none lost", (under_way <= config.bank_latency)
                & (~dut.o.valid | (under_way != 0)))
        p.check("empty", dut.empty == (under_way == 0))
        p.stable("stable", dut.o)
    return design


def whole(p):
    """Keep what is offered, and never read a row that is being written."""
    p.m.submodules.dut = dut = cache.KvCache(CONFIG)
    for name in ("i_control", "i_append", "i_row", "i_read_k", "i_read_v", "i_restore"):
        offer(p, getattr(dut, name), name)
    for name in ("o_k", "o_v", "o_save"):
        accept(p, getattr(dut, name), name)
        p.stable(f"{name} stable", getattr(dut, name))
    appending = Signal.like(dut.i_append.payload, name="appending")
    with p.m.If(dut.i_append.valid & dut.i_append.ready):
        p.m.d.sync += appending.eq(dut.i_append.payload)
    for side, store, command in (("k", dut.keys, dut.i_read_k), ("v", dut.values, dut.i_read_v)):
        for (name, part), depth in zip(store.memories.items(), CONFIG.key_memories):
            what = {"k": "keys", "v": "values"}[side] if "scales" not in name else name
            p.check(what.replace("_", " ") + " never at once",
                    ~(part.r_en & part.w_en & (part.r_addr == part.w_addr)))
            p.check("in range", (~part.r_en | (part.r_addr < depth.depth))
                    & (~part.w_en | (part.w_addr < depth.depth)))
        # A row of which some words are written is not read.
        partial, row = Signal(name=f"partial_{side}"), Signal.like(store.i_write.at.scale)
        with p.m.If(store.write):
            p.m.d.sync += [partial.eq(~store.i_write.at.last_word), row.eq(store.i_write.at.scale)]
        with p.m.If(dut.i_append.valid & dut.i_append.ready):
            p.m.d.sync += partial.eq(0)  # the one before was cut off, and its slot closed
        reads = store.i_read.valid & store.i_read.ready & ~store.i_read.p.poison
        p.check("no read overtakes", ~(partial & reads & (store.i_read.p.scale == row)))
        # Of all read commands any one: until its last address is out its stream stays as it is.
        marked, ahead = Signal(name=f"marked_{side}"), Signal(2, name=f"ahead_{side}")
        waiting = Signal(2, name=f"waiting_{side}")
        asked = Signal.like(command.payload, name=f"asked_{side}")
        begins = command.valid & command.ready
        ends = store.i_read.valid & store.i_read.ready & store.i_read.p.last & (waiting != 0)
        p.m.d.sync += waiting.eq(waiting + begins - ends)
        with p.m.If(begins & ~marked & p.anything(1, f"mark_{side}")):
            p.m.d.sync += [marked.eq(1), ahead.eq(waiting - ends), asked.eq(command.payload)]
        with p.m.If(marked & ends):
            p.m.d.sync += ahead.eq(ahead - 1)
            with p.m.If(ahead == 0):
                p.m.d.sync += marked.eq(0)
        writes = store.write | store.write_scale if side == "k" else store.write
        p.check("no write overtakes", ~(marked & writes & (appending.slot == asked.slot)
                                       & (appending.stream == asked.stream)))


def protection(width):
    """Return the design of a decoder of `width` data bits."""
    def design(p):
        """One flip is corrected, two are detected, none is reported, for all data."""
        p.m.submodules.dut = dut = secded.SecdedDecoder(width)
        data = p.anything(width, "data")
        one, two = p.anything(range(protected(width)), "one"), p.anything(
            range(protected(width)), "two")
        flips, any_flip = p.anything(2, "flips"), Signal(protected(width))
        p.assume((one < protected(width)) & (two < protected(width)) & (one != two) & (flips != 3))
        p.m.d.comb += [
            any_flip.eq(Mux(flips >= 1, 1 << one, 0) | Mux(flips == 2, 1 << two, 0)),
            dut.i.eq(encode(width, data) ^ any_flip)]
        p.check("corrected", (flips == 2) | (dut.o == data))
        p.check("counted", (flips == 2) | (dut.corrected == (flips == 1)))
        p.check("detected", dut.uncorrectable == (flips == 2))
    return design


_WALK, _TABLE, _BANK, _CACHE, _SECDED = (
    f"hw.kv.{name}" for name in ("row_walk", "slot_table", "bank", "cache", "secded"))

_BANK_BUGS = {
    "read after write": (_BANK, "memory.w_en.eq(enable)",
                         "memory.w_en.eq(~(writing & word.at.last) & enable)"),
    "scale after write": (_BANK, "Mux(here.bare, 0, scales[1])", "scales[1]"),
    "tags": (_BANK, "out.last.eq(here.last)", "out.last.eq(self.i_read.p.last)"),
    "none lost": (_BANK, "m.d.sync += valid.eq(reading)", "m.d.sync += valid.eq(valid | reading)"),
    "empty": (_BANK, "self.empty.eq(~valid & ~self.o.valid)", "self.empty.eq(~self.i_read.valid)"),
    "stable": (_BANK, "advance.eq(~valid | take)", "advance.eq(1)"),
}

PROOFS = (
    Proof(name="row walk", design=walk, bugs={
        "in range": (_WALK, "following >= end", "following > end"),
        "in order": (_WALK, "with m.If(self.o.p.bos):", "with m.If(0):"),
        "complete": (_WALK, "self.o.p.last_word & (left == 0)", "self.o.p.last_word & (left <= 1)"),
        "stable": (_WALK, "with m.If(self.o.valid & self.o.ready):", "with m.If(self.o.valid):"),
    }),
    Proof(name="slot table", design=table, bugs={
        "index": (_TABLE, "held.stream >= shape.streams", "held.stream > shape.streams"),
        "pointers": (_TABLE, "Mux(code == shape.code_end, 0, code)", "code"),
        "rows": (_TABLE, "slot.length - 1 + appended", "slot.length + appended"),
        "length": (_TABLE, "with m.If(slot.length != shape.window):", "with m.If(1):"),
        "ends": (_TABLE, "with m.If(scale_end > config.rows):", "with m.If(0):"),
    }),
    Proof(name="bank", design=storage(CONFIG), bugs=_BANK_BUGS),
    Proof(name="cache", design=whole, apart=True, bugs={
        "o_k stable": (_CACHE, "out.valid.eq(bank.o.valid & ~saving)",
                       "out.valid.eq(bank.o.valid & ~held)"),
        "o_v stable": (_BANK, "advance.eq(~valid | take)", "advance.eq(1)"),
        "o_save stable": ("hw.kv.serialiser", "with m.If(self.o.valid & self.o.ready):",
                          "with m.If(self.o.valid):"),
        "keys never at once": (_CACHE, "same & append.value if value else same",
                               "same & append.value"),
        "values never at once": (_CACHE, "same & append.value if value else same",
                                 "same & ~append.value"),
        "scales never at once": (_CACHE, "same & append.value if value else same",
                                 "same & append.value"),
        "value scales never at once": (_CACHE, "same & append.value if value else same",
                                       "same & (append.value if value else ~append.value)"),
        "in range": (_CACHE, "found.slot | found.stream | found.appended",
                     "found.slot | found.appended"),
        "no read overtakes": (_CACHE, "(append_busy & same_rows(appending, command.p, value))",
                              "C(0)"),
        "no write overtakes": (_CACHE, "append_busy, held | conflict, events)",
                               "append_busy, held, events)"),
    }),
    Proof(name="decoder of 16 bits", design=protection(16), engine="sat", bugs={
        "corrected": (_SECDED, "words.append(data ^ flips)", "words.append(data ^ flips[1:])"),
        "counted": (_SECDED, "flips.any() | parity_of_one(syndrome)", "flips.any()"),
        "detected": (_SECDED, "(syndrome != 0) & ~known", "syndrome[:2].all() & ~known"),
    }),
)
"""Everything that ``make formal`` proves."""
