# SPDX-License-Identifier: Apache-2.0
"""What is proved of the KV cache as a whole, each with a bug that must break it."""

from amaranth import *

from golden_model.kv_config import KvCacheConfig
from hw.kv import cache
from sim.formal_kv import CONFIG, Proof, accept, offer

__all__ = ["PROOFS"]

CACHE = KvCacheConfig(lanes=1, rows=4, sinks=2, row_words=2, window=3, slots=1)
"""Two streams, each with a ring of two rows."""


def in_use(p, config):
    """Return a cache that is asked for anything."""
    p.m.submodules.dut = dut = cache.KvCache(config)
    for name in ("i_control", "i_append", "i_row", "i_read_k", "i_read_v", "i_restore"):
        offer(p, getattr(dut, name), name)
    for name in ("o_k", "o_v", "o_save"):
        accept(p, getattr(dut, name), name)
    return dut


def ranges(p):
    """Stay inside the memories, with a stream beyond the others that one might ask for."""
    dut = in_use(p, CONFIG)
    for store in (dut.keys, dut.values):
        for part, depth in zip(store.memories.values(), CONFIG.key_memories):
            p.check("in range", (~part.r_en | (part.r_addr < depth.depth))
                    & (~part.w_en | (part.w_addr < depth.depth)))


def whole(p):
    """Keep what is offered, and never read a row that is being written."""
    dut = in_use(p, CACHE)
    for name in ("o_k", "o_v", "o_save"):
        p.stable(f"{name} stable", getattr(dut, name))
    appending = Signal.like(dut.i_append.payload, name="appending")
    with p.m.If(dut.i_append.valid & dut.i_append.ready):
        p.m.d.sync += appending.eq(dut.i_append.payload)
    for side, store, command in (("k", dut.keys, dut.i_read_k), ("v", dut.values, dut.i_read_v)):
        for name, part in store.memories.items():
            what = {"k": "keys", "v": "values"}[side] if "scales" not in name else name
            p.check(what.replace("_", " ") + " never at once",
                    ~(part.r_en & part.w_en & (part.r_addr == part.w_addr)))
        # A row of which some words are written, and others are to come, is not read.
        partial, row = Signal(name=f"partial_{side}"), Signal.like(store.i_write.at.scale)
        with p.m.If(store.write):
            cut = dut.i_row.valid & dut.i_row.ready & dut.i_row.p.last
            p.m.d.sync += [partial.eq(~store.i_write.at.last_word & ~cut),
                           row.eq(store.i_write.at.scale)]
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
        p.check("no write overtakes", ~(marked & ~asked.newest & writes
                                        & (appending.slot == asked.slot)
                                        & (appending.stream == asked.stream)))
        # With the newest row: of all rows that it read any one stays as it is until the token ends.
        kept = Signal(name=f"kept_{side}")
        kept_row = Signal.like(store.i_read.p.scale, name=f"kept_row_{side}")
        with p.m.If(marked & (ahead == 0) & asked.newest & reads & p.anything(1, f"keep_{side}")):
            p.m.d.sync += [kept.eq(1), kept_row.eq(store.i_read.p.scale)]
        with p.m.If(dut.i_control.valid & dut.i_control.ready):
            p.m.d.sync += kept.eq(0)
        what = {"k": "key", "v": "value"}[side]
        p.check(f"no newest {what} is read early",
                ~(kept & writes & (store.i_write.at.scale == kept_row)))


_READER, _CACHE = (f"hw.kv.{name}" for name in ("reader", "cache"))

PROOFS = (
    Proof(name="cache", design=whole, apart=True, bugs={
        "o_k stable": (_CACHE, "out.valid.eq(room.o.valid & ~saving)",
                       "out.valid.eq(room.o.valid & ~held)"),
        "o_v stable": ("hw.control.slack", "with m.If(~waiting):", "with m.If(1):"),
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
        "no read overtakes": (_CACHE, "append_busy & same_rows(appending, command.p, value)",
                              "C(0)"),
        "no write overtakes": (_CACHE, "waits = held | readers[0].conflict | (",
                               "waits = held | ("),
        "no newest key is read early": (_READER, "early.eq(walk.last_row & lacks.any())",
                                        "early.eq(walk.last_row & lacks[1])"),
        "no newest value is read early": (_READER, "early.eq(walk.last_row & lacks.any())",
                                          "early.eq(walk.last_row & lacks[0])"),
    }),
    Proof(name="cache's addresses", design=ranges, bugs={
        "in range": (_CACHE, "found.slot | found.stream | found.appended",
                     "found.slot | found.appended"),
    }),
)
"""Proofs of the whole."""
