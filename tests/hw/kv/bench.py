# SPDX-License-Identifier: Apache-2.0
"""The cache in the Amaranth simulator beside its golden model, which follows every transfer."""

from collections import deque
from copy import deepcopy

import numpy as np
from amaranth.sim import Simulator

from golden_model.kv.cache import KvCache as Golden
from golden_model.kv.cache import Word
from golden_model.kv_config import ERRORS
from hw.kv.cache import KvCache
from hw.kv.layouts import Operation

PATIENCE = 3_000
"""Cycles without a transfer after which the cache counts as hung."""

INPUTS = ("i_control", "i_append", "i_row", "i_read_k", "i_read_v", "i_restore")
OUTPUTS = ("o_k", "o_v", "o_save")


class Bench:
    """Queues of payloads to send; what comes out is compared as it comes.

    The golden model is told of commands in the order in which the hardware accepts them, and of a
    row when its last word is accepted.  A read that waits for a row gives what `append` was told of
    it.
    """

    def __init__(self, config, *, stall=0.0, seed=1, dut=None):
        self.config = config
        self.dut = KvCache(config) if dut is None else dut
        self.golden = Golden(config)
        self.stall = stall
        self.rng = np.random.default_rng(seed)
        self.queues = {name: deque() for name in INPUTS}
        self.offered = dict.fromkeys(INPUTS, False)
        self.wanted = {name: deque() for name in OUTPUTS}
        self.held = dict.fromkeys(OUTPUTS)
        self.cycles = {name: [] for name in (*INPUTS, *OUTPUTS)}
        self.saved = []
        self.cycle = 0
        self.quiet = 0
        self.row = None
        self.promised = {}

    def run(self, scenario):
        """Run ``scenario(self)`` as the only testbench."""
        async def testbench(ctx):
            self.ctx = ctx
            await scenario(self)

        simulator = Simulator(self.dut)
        simulator.add_clock(1e-8)
        simulator.add_testbench(testbench)
        simulator.run()
        return self

    # What a scenario asks for.

    def control(self, op, **fields):
        self.queues["i_control"].append({"op": op, **fields})

    def configure(self, slots, streams, words, window):
        self.control(Operation.CONFIGURE, slots=slots, streams=streams, words=words, window=window)

    def random_row(self, words=None):
        words = self.golden.geometry.words if words is None else words
        return (self.rng.integers(0, 16, (words, self.config.lanes)).tolist(),
                int(self.rng.integers(0, 1 << 16)))

    def append(self, slot, stream, value, row=None):
        words, scale = self.random_row() if row is None else row
        self.promised[slot, stream, value] = words, scale
        self.queues["i_append"].append({"slot": slot, "stream": stream, "value": int(value)})
        for number, codes in enumerate(words):
            last = number == len(words) - 1
            # What counts on the last word only is nonsense elsewhere.
            self.queues["i_row"].append({"codes": codes, "scale": scale if last else 0xdead,
                                         "last": int(last)})

    def read(self, slot, stream, value, newest=False):
        self.queues["i_read_v" if value else "i_read_k"].append(
            {"slot": slot, "stream": stream, "newest": int(newest)})

    def token(self, slot):
        """Append random rows to all streams, in random order, and complete the token."""
        streams = self.golden.geometry.streams
        for one in self.rng.permutation(2 * streams).tolist():
            self.append(slot, one % streams, one >= streams)

    async def tokens(self, slot, count):
        for _ in range(count):
            self.token(slot)
            await self.drain()
            self.control(Operation.ADVANCE, slot=slot)
            await self.drain()

    async def drain(self):
        """Go on until everything has been sent and answered."""
        while any(self.queues.values()) or any(self.wanted.values()):
            await self.step()
        for _ in range(4):  # the end of what was accepted last
            await self.step()
        while not self.ctx.get(self.dut.idle):
            await self.step()

    @property
    def errors(self):
        errors = self.ctx.get(self.dut.errors)
        return {name for name in ERRORS if errors[name]}

    async def check_errors(self, *names):
        """Compare sticky errors with the golden model's and with `names`, then clear them."""
        await self.drain()
        assert self.errors == self.golden.errors == set(names), (self.errors, self.golden.errors)
        self.ctx.set(self.dut.clear_errors, 1)
        await self.step()
        self.ctx.set(self.dut.clear_errors, 0)
        assert not self.errors
        self.golden.errors.clear()

    def check_lengths(self):
        assert list(self.ctx.get(self.dut.lengths)) == [
            self.golden.length(slot) for slot in range(self.config.slots)]

    # A cycle.

    async def step(self):
        ctx, dut = self.ctx, self.dut
        for name in INPUTS:
            if not self.offered[name] and self.queues[name] and self.rng.random() >= self.stall:
                self.offered[name] = True
                ctx.set(getattr(dut, name).payload, self.queues[name][0])
                ctx.set(getattr(dut, name).valid, 1)
        for name in OUTPUTS:
            ctx.set(getattr(dut, name).ready, int(self.rng.random() >= self.stall))
        ports = [getattr(dut, name) for name in (*INPUTS, *OUTPUTS)]
        *_, = sampled = await ctx.tick().sample(
            *(signal for port in ports for signal in (port.valid, port.ready, port.payload)))
        sampled = sampled[2:]
        moved = False
        for number, name in enumerate((*INPUTS, *OUTPUTS)):
            valid, ready, payload = sampled[3 * number:3 * number + 3]
            if name in OUTPUTS:
                self.look(name, valid, ready, payload)
            elif valid and ready:
                self.follow(name, self.queues[name].popleft())
                ctx.set(getattr(dut, name).valid, 0)
                self.offered[name] = False
            if valid and ready:
                moved = True
                self.cycles[name].append(self.cycle)
        self.cycle += 1
        self.quiet = 0 if moved else self.quiet + 1
        assert self.quiet < PATIENCE, "the cache hangs"

    def look(self, name, valid, ready, payload):
        """Compare what is offered, in every cycle in which it is."""
        if self.held[name] is not None:
            assert valid, f"{name} took an offer back"
        self.held[name] = payload if valid and not ready else None
        if not valid:
            return
        got = payload if name == "o_save" else Word(
            tuple(payload.codes), *((payload.scale, payload.value_scale) if name == "o_k"
                                    else (0, 0)),
            bool(payload.bos), bool(payload.last_word), bool(payload.last))
        assert self.wanted[name], f"{name} offers what nobody asked for"
        assert got == self.wanted[name][0], f"{name}: {got} is not {self.wanted[name][0]}"
        if ready:
            self.wanted[name].popleft()
            if name == "o_save":
                self.saved.append(got)

    def follow(self, name, payload):
        """Tell the golden model what was accepted."""
        golden = self.golden
        match name:
            case "i_read_k" | "i_read_v":
                asked, value = (payload["slot"], payload["stream"]), name == "i_read_v"
                if payload["newest"]:
                    golden = self.with_promised(*asked)
                self.wanted["o" + name[-2:]].extend(golden.read(*asked, value))
            case "i_append":
                self.row = payload, []
            case "i_row":
                self.follow_row(payload)
            case "i_control":
                self.follow_control(payload)

    def with_promised(self, slot, stream):
        """Golden model in which a stream has its rows of the token in progress."""
        golden = deepcopy(self.golden)
        golden.errors = self.golden.errors
        sequence = golden.slots.get(slot)
        for value in (False, True):
            rows = sequence.rows.get((value, stream)) if sequence else None
            if rows is not None and len(rows) == sequence.tokens:
                golden.append(slot, stream, value, *self.promised[slot, stream, value])
        return golden

    def follow_row(self, payload):
        command, words = self.row
        words.append(payload["codes"])
        wanted = self.golden.geometry.words if self.golden.geometry else 0
        arguments = command["slot"], command["stream"], bool(command["value"])
        if payload["last"] and len(words) <= wanted:
            self.golden.append(*arguments, words, payload["scale"])
        elif len(words) == wanted and not payload["last"]:
            self.golden.append(*arguments, [*words, words[0]], 0)  # it is too long already

    def follow_control(self, payload):
        golden = self.golden
        match payload["op"]:
            case Operation.CONFIGURE:
                golden.configure(*(payload[name] for name in
                                   ("slots", "streams", "words", "window")))
            case Operation.CLEAR:
                golden.clear(payload["slot"])
            case Operation.ADVANCE:
                golden.advance(payload["slot"])
            case Operation.SAVE:
                self.wanted["o_save"].extend(golden.save(payload["slot"]))
            case Operation.RESTORE:
                golden.restore(payload["slot"], payload["length"], list(self.queues["i_restore"]))
