# SPDX-License-Identifier: Apache-2.0
"""From prompt to text: which token the decoder reads next, and what becomes of sequences."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.instruction_config import HEADER
from golden_model.system_config import TokenLoopConfig
from hw.bus.control import token_layout
from hw.control.sequences import Sequences
from hw.image.checker import header_layout
from hw.kv.layouts import Operation, control_layout

__all__ = ["POSITION_BITS", "ERROR_LAYOUT", "TokenLoop", "run_layout", "work_layout"]

POSITION_BITS = 20
ERROR_LAYOUT = data.StructLayout({"image_header": 1, "token_range": 1, "kv_capacity": 1,
                                  "kv_slot": 1, "kv_order": 1})
"""Pulses, named as the sticky errors that they set."""


def run_layout():
    """Return the settings that a start, or a command for the cache, reads."""
    return data.StructLayout({"prompt_count": POSITION_BITS, "generate_count": POSITION_BITS,
                              "stop_token": 24, "stop_enable": 1, "slot": 12})


def work_layout(config: TokenLoopConfig):
    """Payload of ``o_work``: a token to read, or several; whether nobody wants its successor."""
    batch = config.cache.batch
    tokens = {"token": 24} if batch == 1 else {"tokens": data.ArrayLayout(24, batch),
                                               "count": range(batch + 1)}
    return data.StructLayout({**tokens, "slot": range(max(config.slots, 2)),
                              "position": POSITION_BITS, "skip_head": 1})


class TokenLoop(wiring.Component):
    """Starts, and commands for one slot of the KV cache, one at a time.

    A start reads `prompt_count` tokens from the queue, those ahead of the last without the LM head,
    then generates up to `generate_count`, each read back ahead of the next; it ends with the token
    that equals `stop_token`, or after the token in work once `halt` was seen.  Without a prompt it
    goes on from the token that the slot's start before generated last.  Ahead of the first use of
    an image it is checked, the cache is configured for its model, and a slot is opened when it is
    used first.  From a token's end to its successor's start are ``config.gap`` cycles.

    A saved sequence is the number of bytes that follow, its position, and what the cache sends.

    Members
    -------
    start, halt, check : :py:`In(1)`
        Pulses; `start` and `check` count while nothing is in work.
    run : :py:`In(run_layout())`
        Read at `start` and at commands.
    clear, save, restore : :py:`In(1)`
        Pulses: commands for ``run.slot``.
    i_prompt, o_generated
        Token queues.
    o_work : :py:`Out(stream.Signature(work_layout(config)))`
        Taken when the token was read.
    i_token : :py:`In(stream.Signature(StructLayout({"token": 24})))`
        Its successor, ahead of that.
    fault : :py:`In(1)`
        The program ended early: the token taken was not read.
    o_control, i_save, o_restore
        Of :class:`hw.kv.cache.KvCache`.
    o_save, i_restore
        The host's ends.
    go : :py:`Out(1)`, checked, image_valid : :py:`In(1)`, header : :py:`In(header_layout)`
        Of :class:`hw.image.checker.ImageCheck`.
    load_seed : :py:`Out(1)`
        Pulses with a start.
    idle, running, input_wait, output_wait, saving, restoring : :py:`Out(1)`
    busy : :py:`Out(1)`
        Something is in work that does not wait for the host.
    position : :py:`Out(20)`, kv_words : :py:`Out(32)`
        Tokens in ``run.slot``; words that are still to be sent or to come.
    done, kv_done, token_done : :py:`Out(1)`
        Pulses: the start has ended; the command has; a token was read.
    errors : :py:`Out(ERROR_LAYOUT)`
    """

    def __init__(self, config: TokenLoopConfig):
        self.config = config
        super().__init__({
            **dict.fromkeys(("start", "halt", "check", "clear", "save", "restore", "fault",
                             "checked", "image_valid"), In(1)),
            "run": In(run_layout()), "header": In(header_layout),
            "i_prompt": In(stream.Signature(24)),
            "o_generated": Out(stream.Signature(token_layout)),
            "o_work": Out(stream.Signature(work_layout(config))),
            "i_token": In(stream.Signature(data.StructLayout({"token": 24}))),
            "o_control": Out(stream.Signature(control_layout(config.cache))),
            "i_save": In(stream.Signature(32)), "o_restore": Out(stream.Signature(32)),
            "o_save": Out(stream.Signature(32)), "i_restore": In(stream.Signature(32)),
            **dict.fromkeys(("go", "load_seed", "idle", "running", "input_wait", "output_wait",
                             "saving", "restoring", "busy", "done", "kv_done", "token_done"),
                            Out(1)),
            "position": Out(POSITION_BITS), "kv_words": Out(32), "errors": Out(ERROR_LAYOUT),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.sequences = sequences = Sequences(self.config)
        run = Signal(run_layout(), reset_less=True)
        kind = Signal(data.StructLayout(dict.fromkeys(("start", "clear", "save", "restore"), 1)))
        halted, configured = Signal(), Signal()
        length = Signal(HEADER["window"])   # of a restored sequence, in the cache
        m.d.comb += [sequences.slot.eq(run.slot), sequences.shown_slot.eq(self.run.slot),
                     sequences.header.eq(self.header), self.position.eq(sequences.shown)]
        with m.If(self.halt):
            m.d.sync += halted.eq(1)

        with m.FSM() as fsm:
            m.d.comb += self.idle.eq(fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                asked = Cat(self.start, self.clear, self.save, self.restore)
                m.d.sync += [kind.eq(Mux(self.start, 1, asked)), run.eq(self.run), halted.eq(0)]
                m.d.comb += self.load_seed.eq(self.start)
                with m.If(asked.any() | self.check):
                    m.next = "PREPARE"
                    with m.If(~self.image_valid | self.check):
                        m.d.comb += self.go.eq(1)
                        m.next = "CHECK"
            with m.State("CHECK"):
                m.d.comb += self.busy.eq(1)
                m.d.sync += configured.eq(0)
                with m.If(self.checked):
                    m.next = "CHECKED"
            with m.State("CHECKED"):
                m.next = "PREPARE"
                with m.If(~self.image_valid):
                    m.d.comb += self.errors.image_header.eq(1)
                    m.next = "END"
            with m.State("PREPARE"):
                self.prepare(m, sequences, kind, run, configured)
            with m.State("CONFIGURE"):
                m.d.comb += [self.busy.eq(1), self.o_control.valid.eq(1),
                             self.o_control.p.op.eq(Operation.CONFIGURE)]
                with m.If(self.o_control.ready):
                    m.d.comb += sequences.forget.eq(1)
                    m.d.sync += configured.eq(1)
                    m.next = "PREPARE"
            with m.State("CLEAR"):
                m.d.comb += [self.busy.eq(1), self.o_control.valid.eq(1),
                             self.o_control.p.op.eq(Operation.CLEAR), sequences.clear.eq(
                                 self.o_control.ready)]
                with m.If(self.o_control.ready):
                    m.next = "END"
                    with m.If(kind.start):
                        m.next = "NEXT"
            self.read_tokens(m, sequences, run, halted)
            self.save_sequence(m, sequences)
            self.restore_sequence(m, sequences, length)
            with m.State("END"):
                m.d.comb += [self.done.eq(kind.start), self.kv_done.eq(
                    ~kind.start & Value.cast(kind).any())]
                m.next = "IDLE"
            m.d.comb += [self.saving.eq(kind.save & ~fsm.ongoing("IDLE")),
                         self.restoring.eq(kind.restore & ~fsm.ongoing("IDLE"))]

        facts = self.header
        m.d.comb += [getattr(self.o_control.p, name).eq(facts[name])
                     for name in ("slots", "streams", "words", "window")]
        rest = self.o_control.p.length
        if self.config.cache.batch > 1:   # never a move, in one assignment, as for all constants
            rest = Cat(rest, self.o_control.p.move)
        m.d.comb += [self.o_control.p.slot.eq(run.slot), rest.eq(length)]
        return m

    def prepare(self, m, sequences, kind, run, configured):
        """Configure the cache for the model, open the slot, then do what was asked."""
        with m.If(~configured):
            m.next = "CONFIGURE"
        with m.Elif(~Value.cast(kind).any()):   # no more than a check
            m.next = "END"
        with m.Elif(run.slot >= self.header.slots):
            m.d.comb += self.errors.kv_slot.eq(1)
            m.next = "END"
        with m.Elif(kind.clear | (kind.start & ~sequences.open)):
            m.next = "CLEAR"
        with m.Elif(kind.start):
            m.next = "NEXT"
        with m.Elif(kind.save):
            m.next = "SAVE_SIZE"
        with m.Else():
            m.next = "RESTORE_SIZE"

    def read_tokens(self, m, sequences, run, halted):
        """Prompt, then successors."""
        token, skip = Signal(24, reset_less=True), Signal()
        following, got = Signal(24, reset_less=True), Signal()
        last = Signal()
        with m.State("NEXT"):
            m.d.sync += skip.eq((run.prompt_count != 1) | (run.generate_count == 0))
            with m.If(halted):
                m.next = "END"
            with m.Elif(run.prompt_count != 0):
                m.d.comb += [self.i_prompt.ready.eq(1),
                             self.input_wait.eq(~self.i_prompt.valid)]
                m.d.sync += token.eq(self.i_prompt.payload)
                with m.If(self.i_prompt.valid):
                    m.d.sync += run.prompt_count.eq(run.prompt_count - 1)
                    m.next = "LOOK"
            with m.Else():
                m.d.sync += [token.eq(sequences.following), skip.eq(0)]
                m.next = "END"
                with m.If((run.generate_count != 0) & sequences.has_following):
                    m.next = "LOOK"
        with m.State("LOOK"):
            m.d.sync += got.eq(0)
            m.next = "WORK"
            with m.If(token >= self.header.vocab):
                m.d.comb += self.errors.token_range.eq(1)
                m.next = "END"
            with m.Elif(sequences.position >= self.header.context):
                m.d.comb += self.errors.kv_capacity.eq(1)
                m.next = "END"
        work = self.o_work
        m.d.comb += [work.p.token.eq(token), work.p.slot.eq(run.slot),
                     work.p.position.eq(sequences.position), work.p.skip_head.eq(skip)]
        with m.State("WORK"):
            m.d.comb += [self.busy.eq(1), self.running.eq(1), work.valid.eq(1),
                         self.i_token.ready.eq(1)]
            with m.If(self.i_token.valid):
                m.d.sync += [following.eq(self.i_token.p.token), got.eq(1)]
            with m.If(work.ready):
                m.d.comb += [sequences.advance.eq(~self.fault), self.token_done.eq(~self.fault),
                             sequences.with_following.eq(got)]
                # Successors come ahead of the end, so that this one stands.
                m.d.sync += last.eq((run.generate_count == 1) | halted | self.halt | (
                    run.stop_enable & (run.stop_token == following)))
                m.next = "NEXT"
                with m.If(self.fault):
                    m.next = "END"
                with m.Elif(got):
                    m.next = "GIVE"
        m.d.comb += sequences.token.eq(following)
        with m.State("GIVE"):
            out = self.o_generated
            m.d.comb += [out.valid.eq(1), out.p.token.eq(following), out.p.last.eq(last),
                         self.output_wait.eq(~out.ready)]
            m.d.sync += token.eq(following)
            with m.If(out.ready):
                m.d.sync += run.generate_count.eq(run.generate_count - 1)
                m.next = "LOOK"
                with m.If(last):
                    m.next = "END"

    def save_sequence(self, m, sequences):
        """Send size, position and what the cache sends."""
        out = self.o_save
        left = Signal(30)
        with m.State("SAVE_SIZE"):
            m.d.comb += [out.valid.eq(1), out.payload.eq((sequences.words + 1) << 2),
                         self.kv_words.eq(sequences.words + 2)]
            m.d.sync += left.eq(sequences.words)
            with m.If(out.ready):
                m.next = "SAVE_POSITION"
        with m.State("SAVE_POSITION"):
            m.d.comb += [out.valid.eq(1), out.payload.eq(sequences.position),
                         self.kv_words.eq(left + 1)]
            with m.If(out.ready):
                m.next = "END"
                with m.If(left != 0):
                    m.next = "SAVE"
        with m.State("SAVE"):
            m.d.comb += [self.busy.eq(1), self.o_control.valid.eq(1), self.kv_words.eq(left),
                         self.o_control.p.op.eq(Operation.SAVE)]
            with m.If(self.o_control.ready):
                m.next = "SAVE_WORDS"
        with m.State("SAVE_WORDS"):
            m.d.comb += [self.busy.eq(~self.i_save.valid), out.valid.eq(self.i_save.valid),
                         out.payload.eq(self.i_save.payload), self.i_save.ready.eq(out.ready),
                         self.kv_words.eq(left)]
            with m.If(out.valid & out.ready):
                m.d.sync += left.eq(left - 1)
                with m.If(left == 1):
                    m.next = "END"

    def restore_sequence(self, m, sequences, length):
        """Take the same; a sequence of another length leaves its slot empty."""
        taken = self.i_restore
        left, position, broken = Signal(30), Signal(POSITION_BITS), Signal()
        size, word = Signal(30), Signal(HEADER["state_words"])
        rows = Signal.like(length)   # that are still to come
        window = self.header.window
        m.d.comb += [length.eq(Mux(position < window, position, window)),
                     sequences.restored.eq(position), sequences.restored_words.eq(size)]
        with m.State("RESTORE_SIZE"):
            m.d.comb += [taken.ready.eq(1), self.kv_words.eq(1)]
            m.d.sync += [left.eq(taken.payload[2:] - 1), size.eq(taken.payload[2:] - 1)]
            with m.If(taken.valid):
                m.next = "RESTORE_POSITION"
                with m.If((taken.payload[:2] != 0) | (taken.payload == 0)):
                    m.d.comb += self.errors.kv_order.eq(1)
                    m.next = "END"
        with m.State("RESTORE_POSITION"):
            m.d.comb += [taken.ready.eq(1), self.kv_words.eq(left + 1)]
            m.d.sync += [position.eq(taken.payload), word.eq(0), broken.eq(0)]
            with m.If(taken.valid):
                m.next = "RESTORE"
                with m.If(taken.payload[:POSITION_BITS] == 0):
                    m.next = "DRAIN"
        with m.State("RESTORE"):
            m.d.comb += [self.busy.eq(1), self.o_control.valid.eq(1), self.kv_words.eq(left),
                         self.o_control.p.op.eq(Operation.RESTORE)]
            m.d.sync += rows.eq(length)
            with m.If(self.o_control.ready):
                m.next = "RESTORE_WORDS"
        with m.State("RESTORE_WORDS"):
            # What is missing at the end becomes zeros: the cache waits for all of it.
            missing = left == 0
            out = self.o_restore
            m.d.comb += [out.valid.eq(taken.valid | missing), self.kv_words.eq(left),
                         out.payload.eq(Mux(missing, 0, taken.payload)),
                         taken.ready.eq(out.ready & ~missing), self.busy.eq(out.valid)]
            with m.If(out.valid & out.ready):
                m.d.sync += [word.eq(word + 1), left.eq(Mux(missing, 0, left - 1))]
                with m.If(missing):
                    m.d.sync += broken.eq(1)
                with m.If(word + 1 == self.header.state_words):
                    m.d.sync += [word.eq(0), rows.eq(rows - 1)]
                    with m.If(rows == 1):
                        m.next = "DRAIN"
        with m.State("DRAIN"):
            m.d.comb += self.kv_words.eq(left)
            with m.If(left != 0):   # more than the sequence has
                m.d.comb += taken.ready.eq(1)
                with m.If(taken.valid):
                    m.d.sync += [left.eq(left - 1), broken.eq(1)]
            with m.Elif(broken):
                m.d.comb += self.errors.kv_order.eq(1)
                m.next = "CLEAR"
            with m.Elif(position == 0):
                m.next = "CLEAR"
            with m.Else():
                m.d.comb += sequences.restore.eq(1)
                m.next = "END"
