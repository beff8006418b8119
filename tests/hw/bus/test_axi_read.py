# SPDX-License-Identifier: Apache-2.0
import random
from collections import deque

import pytest

from golden_model.bus.axi_read import AxiRead as Model
from golden_model.bus.axi_read import Beat, Inputs, bursts
from golden_model.bus.axi_read_cycles import axi_read_cycles
from golden_model.bus_config import AxiReadConfig
from hw.bus.axi_read import AxiRead
from tests.hw.bus.harness import simulate
from tests.mutants import mutant

SMALL = AxiReadConfig(data_bits=64, address_bits=16, max_burst=4, outstanding=3, buffer_beats=9,
                      max_beats=100)
CONFIGS = [SMALL,
           AxiReadConfig(data_bits=64, address_bits=20, max_burst=1, outstanding=1,
                         buffer_beats=2, max_beats=50),
           AxiReadConfig(data_bits=64, address_bits=16, max_burst=2, outstanding=2,
                         buffer_beats=2, max_beats=50),
           AxiReadConfig(data_bits=128, address_bits=32, max_burst=16, outstanding=2,
                         buffer_beats=16, id_bits=3),
           AxiReadConfig(data_bits=512, address_bits=40, max_burst=64, buffer_beats=100)]
FAULTS = ("slave", "decode", "early", "late", "lost", "stray", "foreign")


def word(config, address):
    """Return what the memory holds at a beat's address."""
    return random.Random(address).getrandbits(config.data_bits)


class Memory:
    """Answers bursts in order; some of them wrongly, as `faults` says, or never."""

    def __init__(self, config, seed, rate, latency=1, faults=()):
        self.config = config
        self.random = random.Random(seed)
        self.rate = rate
        self.latency = latency
        self.faults = faults
        self.queue = deque()  # cycle of the earliest answer, and the beat
        self.offer = None
        self.ready = False
        self.injected = 0
        self.cycles = []

    def drive(self, cycle):
        self.ready = self.random.random() < self.rate
        if self.offer is None and self.queue and self.queue[0][0] <= cycle \
                and self.random.random() < self.rate:
            self.offer = self.queue.popleft()[1]

    def step(self, cycle, model):
        if self.offer is not None and not model.filling:
            self.cycles.append(cycle)
            self.offer = None
        if model.ar is not None and self.ready:
            beats = [Beat(word(self.config, model.ar.address + n * self.config.beat_bytes),
                          n == model.ar.length - 1, 0, model.id) for n in range(model.ar.length)]
            if self.faults and self.random.random() < 0.3:
                self.injected += 1
                beats = self.spoil(beats)
            self.queue.extend((cycle + self.latency, beat) for beat in beats)

    def spoil(self, beats):
        kind = self.random.choice(self.faults)
        place = self.random.randrange(len(beats))
        if kind in ("slave", "decode"):
            beats[place] = beats[place]._replace(response=2 if kind == "slave" else 3)
        elif kind == "early":
            beats = [*beats[:place], beats[place]._replace(last=True)]
        elif kind == "late":
            more = [beats[-1]._replace(last=False)] * self.random.randint(1, 5)
            beats = [*beats[:-1], *more, beats[-1]]
        elif kind == "lost":
            beats = beats[:place]
        elif kind == "stray":
            beats = [*beats, beats[-1]]
        else:
            beats = [beats[0]._replace(id=beats[0].id ^ 1), *beats]
        return beats


def drive(ctx, dut, now):
    bus = dut.m_axi
    ctx.set(dut.i.valid, now.command is not None)
    if now.command is not None:
        ctx.set(dut.i.payload, {"address": now.command[0], "beats": now.command[1]})
    ctx.set(bus.arready, now.ar_ready)
    ctx.set(bus.rvalid, now.r is not None)
    if now.r is not None:
        for name, value in (("rdata", now.r.data), ("rlast", now.r.last),
                            ("rresp", now.r.response), ("rid", now.r.id)):
            ctx.set(getattr(bus, name), value)
    ctx.set(dut.o.ready, now.ready)
    for name in ("stop", "abandon", "clear"):
        ctx.set(getattr(dut, name), getattr(now, name))


def check(ctx, dut, model, now):
    """Compare every output with the model."""
    bus, config = dut.m_axi, model.config
    assert ctx.get(dut.i.ready) == model.ready(now)
    assert ctx.get(bus.arvalid) == (model.ar is not None)
    if model.ar is not None:
        assert (ctx.get(bus.araddr), ctx.get(bus.arlen)) \
            == (model.ar.address, model.ar.length - 1)
        assert (ctx.get(bus.arid), ctx.get(bus.arburst)) == (model.id, 1)
        assert 8 << ctx.get(bus.arsize) == config.data_bits
    assert ctx.get(bus.rready) == (not model.filling)
    offered = model.o is not None and not model.draining
    assert ctx.get(dut.o.valid) == offered
    if offered:
        assert (ctx.get(dut.o.p.data), ctx.get(dut.o.p.last)) == model.o
    for name in ("draining", "busy", "progress", "error_address"):
        assert ctx.get(getattr(dut, name)) == getattr(model, name), name
    for name in ("fault", "error"):
        got = ctx.get(getattr(dut, name))
        assert (got.slave, got.decode, got.protocol) == getattr(model, name), name


def run(dut, commands, memory, *, rate=1.0, seed=0, stops=0.0, limit=20_000):
    """Compare in every cycle; returns model, beats, and the cycles of commands, AR and beats.

    With `stops` there are soft resets at random, and whatever hangs is stopped, then abandoned.
    """
    rng = random.Random(seed)
    model = Model(dut.config)
    queue, got, requests = deque(commands), [], []
    logs = {"i": [], "ar": [], "o": []}

    async def bench(ctx):
        offer, quiet = None, 0
        for cycle in range(limit):
            if not (queue or offer or model.busy or model.o or model.inner or model.draining):
                return
            if offer is None and queue and rng.random() < rate:
                offer = queue.popleft()
            memory.drive(cycle)
            hung = quiet > 60
            now = Inputs(offer, memory.ready, memory.offer, rng.random() < rate,
                         stop=rng.random() < stops or (hung and not model.draining),
                         abandon=hung and model.draining, clear=rng.random() < 0.1)
            quiet = 0 if hung or model.progress or model.o else quiet + 1
            drive(ctx, dut, now)
            check(ctx, dut, model, now)
            if offer is not None and model.ready(now):
                logs["i"].append(cycle)
                offer = None
            if model.ar is not None and memory.ready:
                logs["ar"].append(cycle)
                requests.append(model.ar)
            if model.o is not None and not model.draining and now.ready:
                logs["o"].append(cycle)
                got.append(model.o)
            memory.step(cycle, model)
            model.step(now)
            await ctx.tick()
        raise AssertionError("hung")

    simulate(dut, bench)
    return model, got, requests, logs


def wanted(config, commands):
    """Beats of the commands, in order."""
    return [(word(config, burst.address + n * config.beat_bytes),
             burst.final and n == burst.length - 1)
            for command in commands for burst in bursts(config, *command)
            for n in range(burst.length)]


def random_commands(config, count, seed, most=40):
    rng = random.Random(seed)
    pages = [0, 4096 - config.beat_bytes, 8192 - 3 * config.beat_bytes]
    return [(rng.choice((rng.choice(pages), rng.getrandbits(config.address_bits - 1))),
             rng.choice((1, 2, 3, rng.randint(1, min(most, config.max_beats)))))
            for _ in range(count)]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("rates", [(0.3, 0.9), (0.9, 0.3), (0.6, 0.6)], ids=str)
def test_beats_and_every_output_under_stalls(config, rates):
    commands = random_commands(config, 12, seed=1)
    memory = Memory(config, 2, rates[1], latency=7)
    model, got, _, _ = run(AxiRead(config), commands, memory, rate=rates[0], seed=3)
    assert got == wanted(config, commands)
    assert not any(model.error)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("latency", [1, 30])
def test_cycles_of_every_transfer(config, latency):
    commands = random_commands(config, 10, seed=5)
    memory = Memory(config, 2, 1.0, latency)
    _, _, _, logs = run(AxiRead(config), commands, memory)
    cycles = axi_read_cycles(config, commands, latency)
    assert (logs["i"], logs["ar"], logs["o"]) == (cycles.accepted, cycles.requested, cycles.taken)
    assert memory.cycles == cycles.received
    assert cycles.requested[0] == cycles.accepted[0] + config.request_latency


@pytest.mark.parametrize("config", CONFIGS[:3], ids=str)
@pytest.mark.parametrize("fault", FAULTS)
def test_it_outlives_every_fault(config, fault):
    """Errors leave the count right; whatever hangs is recovered by a stop and by giving up."""
    commands = random_commands(config, 18, seed=6, most=12)
    memory = Memory(config, 7, 0.7, 5, faults=(fault,))
    _, got, *_ = run(AxiRead(config), commands, memory, rate=0.8, seed=8)
    assert memory.injected > 3
    if fault in ("slave", "decode"):
        assert got == wanted(config, commands)
    if fault in ("early", "late"):
        assert [last for _, last in got] == [last for _, last in wanted(config, commands)]


@pytest.mark.parametrize("config", CONFIGS[:3], ids=str)
def test_a_soft_reset_at_any_time_leaves_nothing_stale(config):
    """After each stop only beats of later commands come, whole commands, in order."""
    commands = random_commands(config, 60, seed=9)
    memory = Memory(config, 10, 0.8, 20)
    _, got, *_ = run(AxiRead(config), commands, memory, rate=0.8, seed=11, stops=0.02)
    assert len(got) < len(wanted(config, commands))
    # Beats belong to commands in their order: each is found after the one before.
    rest = iter(wanted(config, commands))
    assert all(beat in rest for beat in got)


@pytest.mark.parametrize(("old", "new"), [
    ("(free >= burst.length) & ", ""),
    ("with m.If(bus.arready):\n            m.d.sync += bus.arvalid.eq(0)",
     "m.d.sync += bus.arvalid.eq(0)"),
    ("index.eq(index + room)", "index.eq(index + burst.length)"),
    ("depth=config.outstanding))", "depth=config.outstanding + 1))"),
    ("head.final & ends", "head.final"),
])
def test_a_planted_bug_is_seen(old, new):
    commands = random_commands(SMALL, 20, seed=13)
    with pytest.raises(AssertionError):
        run(mutant(AxiRead, old, new)(SMALL), commands, Memory(SMALL, 14, 0.8, 9), rate=0.6)


@pytest.mark.parametrize(("old", "new"), [
    ("& (bus.rid == bus.arid)", ""),
    ("ResetInserter(self.draining)(", "("),
    ("~bus.arvalid & ~ledger.r_rdy", "~bus.arvalid"),
    ("Mux(self.draining, config.buffer_beats,", "Mux(C(0), config.buffer_beats,"),
    ("self.clear | ~error.any()", "C(1)"),
    ("(bus.rlast ^ ends))),", "(bus.rlast & ~ends))),"),
    ("bus.arid.eq(bus.arid + 1)", "bus.arid.eq(bus.arid)"),
])
def test_a_planted_bug_in_the_recovery_is_seen(old, new):
    commands = random_commands(SMALL, 80, seed=13, most=20)
    memory = Memory(SMALL, 14, 0.8, 9, faults=FAULTS)
    with pytest.raises(AssertionError):
        run(mutant(AxiRead, old, new)(SMALL), commands, memory, stops=0.01)
