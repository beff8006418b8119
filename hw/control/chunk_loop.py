# SPDX-License-Identifier: Apache-2.0
"""The token loop of a decoder that reads several prompt tokens at a time."""

from amaranth import *
from amaranth.lib import data

from hw.control.token_loop import TokenLoop

__all__ = ["ChunkLoop"]


class ChunkLoop(TokenLoop):
    """As :class:`hw.control.token_loop.TokenLoop`, with prompt tokens in chunks.

    Up to ``config.cache.batch`` tokens of a prompt are taken from the queue, each looked at as it
    comes, then read at once.  One that is outside the vocabulary, or past the context, ends the
    start with its error, when those of its chunk that are ahead of it were read.  A token that was
    generated is a chunk of its own.  :func:`golden_model.control.chunk_loop.ready_cycles` has the
    cycles.

    Members
    -------
    token_done : :py:`Out(1)`
        Pulses once for each token of a chunk, from the chunk's last cycle on.
    """

    def read_tokens(self, m, sequences, run, halted):
        """Prompt, chunk by chunk, then successors."""
        batch, work = self.config.cache.batch, self.o_work
        token, skip = Signal(24, reset_less=True), Signal()
        tokens = Signal(data.ArrayLayout(24, batch), reset_less=True)
        count, left = Signal(range(batch + 1)), Signal(range(batch + 1))
        following, got = Signal(24, reset_less=True), Signal()
        last, broken = Signal(), Signal()   # `broken`: the token behind the chunk is none
        with m.State("NEXT"):
            m.d.sync += skip.eq((run.prompt_count != 1) | (run.generate_count == 0))
            with m.If(halted):
                m.next = "END"
                with m.If(count != 0):
                    m.d.sync += skip.eq(1)
                    m.next = "WORK"
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
            outside = token >= self.header.vocab
            beyond = sequences.position + count >= self.header.context
            m.d.sync += got.eq(0)
            with m.If(outside | beyond):
                m.next = "END"
                with m.If(count != 0):   # it is looked at again when those ahead were read
                    m.d.sync += [broken.eq(1), skip.eq(1)]
                    m.next = "WORK"
                with m.Else():
                    m.d.comb += [self.errors.token_range.eq(outside),
                                 self.errors.kv_capacity.eq(~outside)]
            with m.Else():
                m.d.sync += [tokens[count].eq(token), count.eq(count + 1)]
                m.next = "NEXT"
                with m.If((run.prompt_count == 0) | (count == batch - 1)):
                    m.next = "WORK"
        m.d.comb += [work.p.tokens.eq(tokens), work.p.count.eq(count), work.p.slot.eq(run.slot),
                     work.p.position.eq(sequences.position), work.p.skip_head.eq(skip),
                     sequences.token.eq(following)]

        def after():
            m.d.sync += [count.eq(0), broken.eq(0)]
            m.next = "NEXT"
            with m.If(self.fault):
                m.next = "END"
            with m.Elif(broken):
                m.next = "LOOK"
            with m.Elif(got):
                m.next = "GIVE"

        with m.State("WORK"):
            m.d.comb += [self.busy.eq(1), self.running.eq(1), work.valid.eq(1),
                         self.i_token.ready.eq(1)]
            m.d.sync += left.eq(count - 1)
            with m.If(self.i_token.valid):
                m.d.sync += [following.eq(self.i_token.p.token), got.eq(1)]
            with m.If(work.ready):
                m.d.comb += [sequences.advance.eq(~self.fault), self.token_done.eq(~self.fault),
                             sequences.with_following.eq(got & (count == 1))]
                # Successors come ahead of the end, so that this one stands.
                m.d.sync += last.eq((run.generate_count == 1) | halted | self.halt | (
                    run.stop_enable & (run.stop_token == following)))
                after()
                with m.If(~self.fault & (count != 1)):
                    m.d.sync += broken.eq(broken)
                    m.next = "ADVANCE"
        with m.State("ADVANCE"):
            m.d.comb += [self.busy.eq(1), sequences.advance.eq(1), self.token_done.eq(1),
                         sequences.with_following.eq(got & (left == 1))]
            m.d.sync += left.eq(left - 1)
            with m.If(left == 1):
                after()
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
