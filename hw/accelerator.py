# SPDX-License-Identifier: Apache-2.0
"""The accelerator: control port, token loop, decoder, and the memory of its image."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, flipped

from golden_model.accelerator_config import AcceleratorConfig
from hw.bus.axi_lite import axi_lite_signature
from hw.bus.axi_read import AxiRead, axi_read_signature
from hw.bus.control import Control, raised
from hw.bus.wishbone import wishbone_signature
from hw.control.chunk_loop import ChunkLoop
from hw.control.token_loop import TokenLoop
from hw.decoder import Decoder
from hw.image.axi_port import AxiPort
from hw.image.block_memory import BlockMemory
from hw.image.checker import ImageCheck
from hw.image.loader import ImageLoader

__all__ = ["Accelerator", "TRACE"]

TRACE = data.StructLayout({"running": 1, "token_done": 1, "given": 1, "phase": 8, "layer": 8})
"""For an observer: a token is in work; it ends; a generated one is queued; which instruction."""

CACHE_ERRORS = {"geometry": "image_header", "slot": "kv_slot", "unwritten": "kv_never_written",
                "length": "kv_order", "stream": "kv_order", "overwrite": "kv_order",
                "incomplete": "kv_order", "row": "kv_order", "uncorrectable": "ecc_double"}
"""Sticky error of the registers for each of the KV cache's."""


class Accelerator(wiring.Component):
    """All of it: a host writes an image and tokens, and reads tokens.

    The table of registers (``docs/registers.md``) says what the host can do.  An image is checked
    once ahead of its use, and one that is damaged or for another configuration is not run.  A soft
    reset puts everything but the registers, the image and its check back to the start.

    Members
    -------
    s_axi or wb : :py:`In(...)`
        Control bus, as ``config.system.bus`` says.
    m_axi : :py:`Out(axi_read_signature(config.system.axi))`
        With ``config.system.memory == "axi"``.
    irq : :py:`Out(1)`
    observed : :py:`Out(TRACE)`
    logit, logit_scale : Out
        For an observer: logits as they are made; see :class:`hw.decoder.Decoder`.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.core = self.make_core()
        bus = ({"s_axi": In(axi_lite_signature(config.control.slave))}
               if config.system.bus == "axi_lite" else
               {"wb": In(wishbone_signature(config.control.slave))})
        memory = ({"m_axi": Out(axi_read_signature(config.system.axi))}
                  if config.system.memory == "axi" else {})
        core = self.core.signature.members
        super().__init__({
            **bus, **memory, "irq": Out(1), "observed": Out(TRACE), "logit": core["o_logit"],
            "logit_scale": core["o_logit_scale"],
        })

    def make_core(self):
        """Return what decodes a token."""
        return Decoder(self.config.decoder)

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.control = control = Control(config.control)
        reset = ResetInserter(control.soft_reset)
        core = self.core
        reads = TokenLoop if config.array.batch == 1 else ChunkLoop
        m.submodules.core, m.submodules.loop = reset(core), reset(loop := reads(config.token_loop))
        m.submodules.check = check = ImageCheck(config.image_check)
        name = "s_axi" if config.system.bus == "axi_lite" else "wb"
        wiring.connect(m, flipped(getattr(self, name)), getattr(control, name))
        m.d.comb += [
            self.irq.eq(control.irq), self.logit.eq(core.o_logit),
            self.logit_scale.eq(core.o_logit_scale),
            self.observed.running.eq(loop.running), self.observed.token_done.eq(loop.token_done),
            self.observed.given.eq(loop.o_generated.valid & loop.o_generated.ready),
            self.observed.phase.eq(core.phase), self.observed.layer.eq(core.layer),
        ]
        progress = self.memory(m, control, reset, loop, check)
        self.tokens(m, control, loop, check)
        self.report(m, control, loop, check, progress)
        return m

    def memory(self, m, control, reset, loop, check):
        """Join check and core to the image; returns what shows that something moved."""
        config, core = self.config, self.core
        m.d.comb += check.stop.eq(control.stop)
        if config.system.memory == "block":
            m.submodules.memory = reset(memory := BlockMemory(config.block_memory))
            m.submodules.loader = loader = ImageLoader(config.image_loader)
            request, beats = memory.i_request, memory.o
            wiring.connect(m, control.o_image_address, loader.i_address)
            wiring.connect(m, control.o_image_data, loader.i_data)
            m.d.comb += [
                memory.i_write.payload.eq(loader.o.payload),
                memory.i_write.valid.eq(loader.o.valid),
                loader.open.eq(loop.idle), check.forget.eq(loader.open & (
                    loader.i_address.valid | loader.i_data.valid)),
            ]
            progress = C(0, 1)
        else:
            m.submodules.port = reset(port := AxiPort(config.axi_port))
            m.submodules.memory = memory = AxiRead(config.system.axi)
            request, beats = port.i_request, port.o
            wiring.connect(m, port.o_fetch, memory.i)
            wiring.connect(m, memory.o, port.i_word)
            wiring.connect(m, memory.m_axi, flipped(self.m_axi))
            base = Cat(control.image_base_low.value, control.image_base_high.value)
            checked = Signal(64)
            with m.If(check.go):
                m.d.sync += checked.eq(base)
            m.d.comb += [
                port.base.eq(checked[12:] << 12), check.forget.eq(checked != base),
                memory.stop.eq(control.stop), memory.abandon.eq(control.abandon),
                memory.clear.eq(control.clear_fault), control.draining.eq(memory.draining),
                control.fault.eq(memory.fault), control.error_address.eq(memory.error_address),
            ]
            progress = memory.progress
        # Nothing decodes while an image is checked.
        for mine, theirs in ((check, check.busy), (core, ~check.busy)):
            with m.If(theirs):
                m.d.comb += [
                    request.payload.eq(mine.o_request.payload),
                    request.valid.eq(mine.o_request.valid),
                    mine.o_request.ready.eq(request.ready),
                    mine.i_beats.valid.eq(beats.valid), beats.ready.eq(mine.i_beats.ready),
                ]
            m.d.comb += mine.i_beats.payload.eq(beats.payload)
        return progress | (beats.valid & beats.ready)

    def tokens(self, m, control, loop, check):
        """Join the loop to its neighbours."""
        core = self.core
        m.d.comb += [
            loop.start.eq(control.start), loop.halt.eq(control.halt),
            loop.check.eq(control.check), loop.clear.eq(control.kv_control.clear),
            loop.save.eq(control.kv_control.save), loop.restore.eq(control.kv_control.restore),
            loop.run.prompt_count.eq(control.prompt_count.value),
            loop.run.generate_count.eq(control.generate_count.value),
            loop.run.stop_token.eq(control.stop_token.token),
            loop.run.stop_enable.eq(control.stop_token.enable),
            loop.run.slot.eq(control.kv_slot.slot),
            loop.header.eq(check.header), loop.checked.eq(check.done),
            loop.image_valid.eq(check.valid & ~check.forget), check.go.eq(loop.go),
            loop.fault.eq(core.fault),
            core.program.address.eq(check.header.program),
            core.program.count.eq(check.header.instructions),
            core.program.head_count.eq(check.header.instructions
                                       - check.header.head_instructions),
        ]
        for source, sink in ((control.o_prompt, loop.i_prompt),
                             (loop.o_generated, control.i_generated),
                             (loop.o_work, core.i_token), (core.o_token, loop.i_token),
                             (loop.o_control, core.i_control), (loop.o_restore, core.i_restore),
                             (loop.o_save, control.i_save), (control.o_restore, loop.i_restore)):
            wiring.connect(m, source, sink)
        # What the cache reads goes through a register on its way to the bus.
        full, word = Signal(), Signal.like(core.o_save.payload, reset_less=True)
        m.d.comb += [loop.i_save.payload.eq(word), loop.i_save.valid.eq(full),
                     core.o_save.ready.eq(~full)]
        with m.If(~full):
            m.d.sync += [word.eq(core.o_save.payload), full.eq(core.o_save.valid)]
        with m.Elif(loop.i_save.ready):
            m.d.sync += full.eq(0)
        with m.If(control.soft_reset):
            m.d.sync += full.eq(0)
        if "sampling" in core.signature.members:
            kept, asked = Signal.like(core.sampling), control.sampling
            with m.If(loop.load_seed):
                m.d.sync += kept.eq(Cat(asked.mantissa, asked.exponent, asked.enable))
            m.d.comb += [core.sampling.eq(kept), core.seed.eq(control.seed.value),
                         core.load_seed.eq(loop.load_seed),
                         Value.cast(control.random_state).eq(core.random_state)]

    def report(self, m, control, loop, check, progress):
        """Join status, errors, interrupts, counters."""
        core = self.core
        flags = {name: getattr(loop, name) for name in
                 ("idle", "running", "input_wait", "output_wait", "saving", "restoring")}
        flags["image_valid"] = loop.image_valid
        progressed = Signal()   # a cycle late, as the signals that say so come late in theirs
        words = (loop.o_save, loop.i_restore, core.o_save, core.i_restore)
        m.d.comb += [
            Value.cast(control.status).eq(raised(control.status, flags) | (core.phase << 8)
                                          | (core.layer << 16)),
            Value.cast(control.position).eq(loop.position),
            Value.cast(control.kv_words).eq(loop.kv_words),
            control.busy.eq(loop.busy),
            control.progress.eq(progressed),
        ]
        m.d.sync += progressed.eq(core.progress | progress | Cat(
            port.valid & port.ready for port in words).any())
        # Levels of the cache and the core become pulses.
        before = Signal.like(core.errors)
        fault_before = Signal()
        m.d.sync += [before.eq(core.errors), fault_before.eq(core.fault)]
        causes = {name: loop.errors[name] for name, _ in loop.errors.shape()}
        causes["program_opcode"] = core.fault & ~fault_before
        causes["token_range"] = causes["token_range"] | core.token_range
        for name, cause in CACHE_ERRORS.items():
            causes[cause] = causes.get(cause, C(0, 1)) | (core.errors[name] & ~before[name])
        corrected = Signal.like(core.corrected)   # those that were counted
        m.d.sync += corrected.eq(corrected + (corrected != core.corrected))
        m.d.comb += core.clear_errors.eq(Value.cast(core.errors).any()
                                         & (corrected == core.corrected))
        with m.If(core.clear_errors | control.soft_reset):
            m.d.sync += corrected.eq(0)
        # A cycle late: causes come from all over.
        m.d.sync += Value.cast(control.set_errors).eq(raised(control.set_errors, causes))
        counts = {"cycles": C(1, 1), "busy": loop.running, "stall_input": loop.input_wait,
                  "stall_output": loop.output_wait, "tokens": loop.token_done,
                  "ecc_corrected": corrected != core.corrected,
                  **{name: core.counts[name] for name, _ in core.counts.shape()}}
        m.d.comb += [
            Value.cast(control.set_irq_status).eq(raised(control.set_irq_status, {
                "done": loop.done, "kv": loop.kv_done})),
            Value.cast(control.count).eq(Cat(counts[name] for name, _ in control.count.shape())),
        ]
