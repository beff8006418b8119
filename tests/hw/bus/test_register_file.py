# SPDX-License-Identifier: Apache-2.0
import random

import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator

from golden_model.bus.register_file import Access
from golden_model.bus.register_file import RegisterFile as Model
from golden_model.bus_config import RegisterFileConfig
from golden_model.registers import COUNTERS, REGISTERS, register
from hw.bus.register_file import RegisterFile
from tests.mutants import mutant

CONFIG = RegisterFileConfig(config_hash="0123456789abcdef", rows=16, lanes=128, window=1000,
                            slots=3, memory_data_bits=128, memory_outstanding=8,
                            memory_address_bits=40, counter_bits=34)
KINDS = {kind: [one for one in REGISTERS if one.kind == kind]
         for kind in {one.kind for one in REGISTERS}}

BUSY = [*KINDS["sticky"], *KINDS["push"], *KINDS["pop"], register("irq_enable")]
"""Registers with the most to get wrong."""


class Stimulus:
    """Random inputs of one cycle: accesses everywhere, queues that are full and empty."""

    def __init__(self, rng):
        self.rng = rng
        self.request = None

    def word(self):
        return self.rng.choice((0, 1, 0xFFFF_FFFF, self.rng.getrandbits(32)))

    def draw(self, request_taken):
        rng = self.rng
        if self.request is None or request_taken:
            offset = rng.choice(REGISTERS if rng.random() < 0.4 else BUSY).offset
            if rng.random() < 0.1:
                offset = rng.randrange(0, 4096, 4)
            strobe = rng.choice((0b1111, 0b1111, rng.getrandbits(4)))
            self.request = Access(offset, rng.random() < 0.5, self.word(), strobe)
            if rng.random() < 0.3:
                self.request = None
        return {
            "request": self.request,
            "response_ready": rng.random() < 0.6,
            "status": {one.name: self.word() for one in KINDS["status"]},
            "report": {one.name: 1 << rng.randrange(32) if rng.random() < 0.3 else 0
                       for one in KINDS["sticky"]},
            "count": frozenset(name for name, _ in COUNTERS if rng.random() < 0.5),
            "push_ready": frozenset(one.name for one in KINDS["push"] if rng.random() < 0.1),
            "offered": {one.name: self.word() for one in KINDS["pop"] if rng.random() < 0.5},
            "flush": rng.random() < 0.05,
        }


def drive(ctx, dut, cycle):
    """Set every input."""
    request = cycle["request"]
    ctx.set(dut.i.valid, request is not None)
    if request is not None:
        ctx.set(dut.i.payload, {"address": request.offset >> 2, "write": int(request.write),
                                "data": request.data, "strobe": request.strobe})
    ctx.set(dut.o.ready, cycle["response_ready"])
    for name, word in cycle["status"].items():
        ctx.set(Value.cast(getattr(dut, name)), word)
    for name, word in cycle["report"].items():
        ctx.set(Value.cast(getattr(dut, f"set_{name}")), word)
    ctx.set(dut.count, {name: int(name in cycle["count"]) for name, _ in COUNTERS})
    for one in KINDS["push"]:
        ctx.set(getattr(dut, one.name).ready, one.name in cycle["push_ready"])
    for one in KINDS["pop"]:
        port = getattr(dut, one.name)
        ctx.set(port.valid, one.name in cycle["offered"])
        ctx.set(Value.cast(port.payload), cycle["offered"].get(one.name, 0))
    ctx.set(dut.flush, cycle["flush"])


def run(config, cycles, dut=None, start=0):
    """Compare every output with the golden model in every cycle."""
    dut = dut or RegisterFile(config)
    model = Model(config)
    model.counters = dict.fromkeys(model.counters, start)

    async def bench(ctx):
        for number, cycle in enumerate(cycles):
            drive(ctx, dut, cycle)
            assert ctx.get(dut.i.ready) == model.ready, number
            assert ctx.get(dut.o.valid) == (model.response is not None), number
            if model.response is not None:
                assert ctx.get(dut.o.p.data) == model.response.data, number
                assert ctx.get(dut.o.p.error) == model.response.error, number
            for name, word in model.words.items():
                assert ctx.get(Value.cast(getattr(dut, name))) == word, (number, name)
            for name, word in model.held.items():
                port = getattr(dut, name)
                assert ctx.get(port.valid) == (word is not None), (number, name)
                if word is not None:
                    assert ctx.get(Value.cast(port.payload)) == word, (number, name)
            assert ctx.get(dut.irq) == model.irq, number
            ready = {one.name for one in KINDS["pop"] if ctx.get(getattr(dut, one.name).ready)}
            arguments = {key: value for key, value in cycle.items() if key != "response_ready"}
            popped = model.step(**arguments, response_taken=cycle["response_ready"])
            assert {name for name in ready if name in cycle["offered"]} \
                == ({popped} if popped else set()), number
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(bench)
    sim.run()
    return model


def random_cycles(count, seed):
    """Cycles in which a request stays until it is taken, as the model foretells."""
    rng = random.Random(seed)
    stimulus, model, taken, cycles = Stimulus(rng), Model(CONFIG), False, []
    for _ in range(count):
        cycle = stimulus.draw(taken)
        taken = model.ready and cycle["request"] is not None
        model.step(**{key: value for key, value in cycle.items() if key != "response_ready"},
                   response_taken=cycle["response_ready"])
        cycles.append(cycle)
    return cycles


IDLE = {"request": None, "response_ready": True, "status": {}, "report": {}, "count": frozenset(),
        "push_ready": frozenset(), "offered": {}, "flush": False}


def accesses(*list_of):
    """One access every two cycles, which is as fast as they are taken."""
    return [cycle for access in list_of for cycle in ({**IDLE, "request": access}, IDLE)]


@pytest.mark.parametrize("seed", range(2))
def test_every_output_in_every_cycle(seed):
    run(CONFIG, random_cycles(1000, seed))


def test_every_register_in_both_directions():
    """Read, write ones, read, write zeros to single bytes, read: each register of the table."""
    steps = [access for one in REGISTERS for access in (
        Access(one.offset), Access(one.offset, True, 0xFFFF_FFFF), Access(one.offset),
        Access(one.offset, True, 0, 0b0101), Access(one.offset),
        Access(one.offset, True, 0x1234_5678, 0b1010), Access(one.offset))]
    model = run(CONFIG, accesses(*steps))
    assert model.words["watchdog_limit"] == 0x12_FF_56_FF & ~0x00FF_00FF


def test_constants_tell_what_the_hardware_is():
    words = CONFIG.constants
    assert words["id"].to_bytes(4, "big") == b"TRIT"
    assert (words["config_hash_high"], words["config_hash_low"]) == (0x01234567, 0x89ABCDEF)
    assert words["array"] == 5 << 28 | 128 << 12 | 16
    assert words["memory"] == 40 << 20 | 8 << 12 | 128


COUNTER = """counter = Signal(self.config.counter_bits, name=name)
            with m.If(self.control.clear_counters):
                m.d.sync += counter.eq(0)
            with m.Elif(self.count[name.removeprefix("count_")]):
                m.d.sync += counter.eq(counter + 1)
            high.append((reads[name], counter[32:]))
            m.d.comb += [values[name].eq(counter[:32]), values[f"{name}_high"].eq(shadow)]
        # One at most is read: no choice of the first one among them.
        found = [Mux(read, value, 0) for read, value in high]
        with m.If(Cat(read for read, _ in high).any()):
            m.d.sync += shadow.eq(reduce(or_, found))
"""


def starting(old="", new=""):
    """Register file whose counters start just below a carry, and with one place changed."""
    changed = COUNTER.replace("name=name", "name=name, init=0x1_FFFF_FFFE").replace(old, new)
    return mutant(RegisterFile, COUNTER, changed)(CONFIG)


def count_across_a_carry(dut):
    low, high = register("count_busy").offset, register("count_busy_high").offset
    steps = [{**cycle, "count": frozenset({"busy"})}
             for cycle in accesses(*[Access(offset) for offset in (low, high, low, high)])]
    run(CONFIG, steps, dut, start=0x1_FFFF_FFFE)


def test_a_counter_is_read_whole_while_it_counts():
    """The low word wraps between the reads: the high word is the one that belonged to it."""
    count_across_a_carry(starting())
    low, high = register("count_busy"), register("count_busy_high")
    model = Model(CONFIG)
    model.counters["count_busy"] = 0x1_FFFF_FFFF
    model.step(Access(low.offset), count=frozenset({"busy"}))
    assert model.response.data == 0xFFFF_FFFF
    for _ in range(5):
        model.step(None, response_taken=True, count=frozenset({"busy"}))
    model.step(Access(high.offset))
    assert model.response.data == 1
    assert model.counters["count_busy"] == 0x2_0000_0005


@pytest.mark.parametrize(("old", "new"), [
    ("counter[32:]))", "counter[31:]))"),
    ("with m.If(Cat(read for read, _ in high).any()):", "with m.If(C(1)):")])
def test_a_planted_bug_in_the_latch_is_seen(old, new):
    with pytest.raises(AssertionError):
        count_across_a_carry(starting(old, new))


@pytest.mark.parametrize(("old", "new"), [
    ("((value & ~lanes) | (self.i.p.data & lanes))", "self.i.p.data"),
    ("(value & ~cleared) | now", "(value | now) & ~cleared"),
    ("| (read & ~port.valid)", ""),
    ("port.ready | self.flush", "port.ready"),
    ("= request.strobe != ALL_LANES", "= C(0, 1)"),
    ("pending.any()", "(pending != 1)"),
])
def test_a_planted_bug_is_seen(old, new):
    with pytest.raises(AssertionError):
        run(CONFIG, random_cycles(1000, 3), mutant(RegisterFile, old, new)(CONFIG))


@pytest.mark.parametrize(("field", "value"), [
    ("config_hash", "0123"), ("config_hash", "0123456789ABCDEF"), ("counter_bits", 32),
    ("counter_bits", 65)])
def test_config_refuses(field, value):
    with pytest.raises(ValueError, match=f"^{field} must"):
        RegisterFileConfig(**{field: value})


def test_config_refuses_what_no_field_holds():
    with pytest.raises(ValueError, match=r"^array.rows must fit 12 bits, not 4096$"):
        RegisterFileConfig(rows=4096)
