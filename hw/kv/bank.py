# SPDX-License-Identifier: Apache-2.0
"""Storage of one side of the cache: codes, first tokens' codes; beside keys also all scales."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.kv_config import SCALE_BITS, KvCacheConfig
from hw.kv.layouts import (
    address_layout,
    codes_layout,
    key_word_layout,
    value_word_layout,
    write_layout,
)
from hw.kv.secded import SecdedDecoder, encode
from hw.memory.sram import Sram

__all__ = ["Bank"]


class Bank(wiring.Component):
    """Words by address: one read and one written in every cycle.

    A word is out ``config.bank_latency`` cycles after its address was accepted, and in memory one
    cycle after it was given.  The parent sees to it that nothing is read in the cycle in which it
    is put into memory.  While ``o`` is stalled, addresses wait; ``i_read.ready`` depends on
    ``o.ready``.  A memory with one port for both accepts no address while it is written.

    With ``config.secded`` flipped bits are corrected on the way out, and in cycles without an
    address words are read in turn (each memory's word of the same number) and written back where a
    bit had flipped.  Reading pauses for the cycle of such a write.

    Poisoned and uncorrectable words are all zeros, so are their scales.

    Parameters
    ----------
    config
        Geometry.
    keys
        Whether it holds keys.  Scales of values lie beside those of keys, because attention needs
        both at once, ahead of the values.

    Members
    -------
    write, i_write : In
        ``write`` says that ``i_write`` (:py:`write_layout(config)`) holds a word in this cycle.
    write_scale : In
        That it is a value's, and the last of its row: its scale is stored.  Of keys only.
    i_read : :py:`In(stream.Signature(address_layout(config)))`
    o : :py:`Out(stream.Signature(key_word_layout(config)))` or ``value_word_layout``
    wipe : In
        Begin to write zeros everywhere; with ``config.secded`` only.
    wiping : Out
        At it: neither addresses nor words are accepted.
    corrected, uncorrectable : Out
        High for a cycle for each word with one flipped bit, or with more.
    empty : Out
        No word is under way.
    """

    def __init__(self, config: KvCacheConfig, keys: bool = True):
        self.config, self.keys = config, keys
        self.memories = dict(zip(("codes", "sinks", "scales", "value_scales"), map(
            Sram, config.key_memories if keys else config.value_memories)))
        word = key_word_layout if keys else value_word_layout
        super().__init__({
            "write": In(1), "i_write": In(write_layout(config)),
            **({"write_scale": In(1)} if keys else {}),
            "i_read": In(stream.Signature(address_layout(config))),
            "o": Out(stream.Signature(word(config))),
            "wipe": In(1), "wiping": Out(1), "corrected": Out(1), "uncorrectable": Out(1),
            "empty": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        memories = list(self.memories.values())
        for name, memory in self.memories.items():
            m.submodules[name] = memory
        widths = (config.lanes * config.kv_bits, config.lanes * config.bos_bits, SCALE_BITS,
                  SCALE_BITS)

        # Writing, a cycle after the word was given.
        writing, scaling = Signal(), Signal()
        word = Signal(write_layout(config), reset_less=True)
        m.d.sync += [writing.eq(self.write), word.eq(self.i_write)]
        if self.keys:
            m.d.sync += scaling.eq(self.write_scale)
        contents = (Cat(code[:config.kv_bits] for code in word.codes),
                    Cat(code[:config.bos_bits] for code in word.codes), word.scale, word.scale)
        for memory, content, width, address, enable in zip(
                memories, contents, widths,
                (word.at.code, word.at.code, word.at.scale, word.at.scale),
                (writing & ~word.at.bos, writing & word.at.bos, writing & word.at.last_word,
                 scaling)):
            m.d.comb += [
                memory.w_en.eq(enable), memory.w_addr.eq(address),
                memory.w_data.eq(encode(width, content) if config.secded else content)]

        # Reading: what the memories hold on their outputs belongs to `here`.
        valid, here = Signal(), Signal(address_layout(config), reset_less=True)
        advance, take = Signal(), Signal()
        m.d.comb += [
            advance.eq(~valid | take),
            self.i_read.ready.eq(advance & ~self.wiping),
            self.empty.eq(~valid & ~self.o.valid),
        ]
        if config.ports == "1rw":
            with m.If(memories[0].w_en):
                m.d.comb += self.i_read.ready.eq(0)
        reading = self.i_read.valid & self.i_read.ready
        with m.If(advance):
            m.d.sync += valid.eq(reading)
        with m.If(reading):
            m.d.sync += here.eq(self.i_read.payload)
        asked = self.i_read.p
        for memory, address, enable in zip(
                memories, (asked.code, asked.code, asked.scale, asked.scale),
                (~asked.bos, asked.bos, C(1), C(1))):
            m.d.comb += [memory.r_en.eq(reading & enable & ~asked.poison),
                         memory.r_addr.eq(address)]

        out = Signal(self.o.p.shape())
        m.d.comb += [out.bos.eq(here.bos), out.last_word.eq(here.last_word), out.last.eq(here.last)]
        leaving = valid & take & ~here.poison
        if config.secded:
            found, spoilt = self.protect(
                m, widths, (leaving & ~here.bos, leaving & here.bos, leaving, leaving),
                writing | scaling, advance)
        else:
            found, spoilt = [memory.r_data for memory in memories], C(0)
        codes, sinks, *scales = found
        wide = Signal(codes_layout(config))
        m.d.comb += [to.eq(Mux(here.bos, sinks.word_select(n, config.bos_bits),
                               codes.word_select(n, config.kv_bits)))
                     for n, to in enumerate(wide)]
        with m.If(~here.poison & ~spoilt):
            m.d.comb += out.codes.eq(wide)
            if self.keys:
                m.d.comb += [out.scale.eq(scales[0]),
                             out.value_scale.eq(Mux(here.bare, 0, scales[1]))]
        if config.secded:
            m.d.comb += take.eq(~self.o.valid | self.o.ready)
            with m.If(take):
                m.d.sync += [self.o.valid.eq(valid), self.o.payload.eq(out)]
        else:
            m.d.comb += [take.eq(self.o.ready), self.o.valid.eq(valid), self.o.payload.eq(out)]
        return m

    def protect(self, m, widths, leaving, writing, advance):
        """Decode, scrub and wipe; return the memories' words, and whether one is uncorrectable.

        `leaving` says of each memory whether what it holds on its output is on its way to ``o``.
        """
        config = self.config
        depth = max(memory.config.depth for memory in self.memories.values())
        number = Signal(range(depth))  # the word to look at, or to wipe, next
        looked = Signal.like(number)   # the one on the memories' outputs while `looking`
        looking, scrub, mending = Signal(), Signal(), Signal()
        timer = Signal(range(max(config.scrub_interval, 2)), init=config.scrub_interval - 1)
        m.d.comb += scrub.eq((timer == 0) & advance & ~self.i_read.valid & ~writing & ~mending
                             & ~self.wiping)
        m.d.sync += looking.eq(scrub)
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.If(scrub):
            m.d.sync += [looked.eq(number), timer.eq(config.scrub_interval - 1)]
        with m.If(scrub | self.wiping):
            m.d.sync += number.eq(number + 1)
            with m.If(number == depth - 1):
                m.d.sync += [number.eq(0), self.wiping.eq(0)]
        with m.If(self.wipe):
            m.d.sync += [number.eq(0), self.wiping.eq(1)]
        with m.If(mending):
            m.d.comb += self.i_read.ready.eq(0)

        words, spoilt = [], []
        for (name, memory), width, leaves in zip(self.memories.items(), widths, leaving):
            m.submodules[f"decode_{name}"] = decoder = SecdedDecoder(width)
            m.d.comb += decoder.i.eq(memory.r_data)
            with m.If(scrub):
                m.d.comb += [memory.r_en.eq(number < memory.config.depth),
                             memory.r_addr.eq(number)]
            scrubbed = looking & (looked < memory.config.depth)
            with m.If(decoder.corrected & ~decoder.uncorrectable & (scrubbed | leaves)):
                m.d.comb += self.corrected.eq(1)
            with m.If(decoder.uncorrectable & (scrubbed | leaves)):
                m.d.comb += self.uncorrectable.eq(1)
            # A word that is just being written is not looked at twice: it comes up again.
            with m.If(scrubbed & decoder.corrected & ~decoder.uncorrectable & ~writing):
                m.d.comb += [memory.w_en.eq(1), memory.w_addr.eq(looked), mending.eq(1),
                             memory.w_data.eq(encode(width, decoder.o))]
            with m.If(self.wiping):
                m.d.comb += [memory.w_en.eq(number < memory.config.depth),
                             memory.w_addr.eq(number), memory.w_data.eq(0)]
            words.append(decoder.o)
            spoilt.append(decoder.uncorrectable & leaves)
        return words, Cat(spoilt).any()
