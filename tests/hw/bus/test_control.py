# SPDX-License-Identifier: Apache-2.0
import random

import pytest
from amaranth.hdl import Value

from golden_model.bus import axi_lite, wishbone
from golden_model.bus.axi_read import Error
from golden_model.bus.control import Control as Model
from golden_model.bus.control import Inputs
from golden_model.bus.register_file import Access
from golden_model.bus_config import ControlConfig, RegisterFileConfig
from golden_model.registers import COUNTERS, REGISTERS, register
from hw.bus.control import Control
from tests.hw.bus.harness import simulate
from tests.hw.bus.masters import AxiLiteMaster, WishboneMaster
from tests.mutants import mutant

CONFIGS = [ControlConfig(bus=bus, registers=RegisterFileConfig(prompt_depth=3, generated_depth=2))
           for bus in ("axi_lite", "wishbone", "wishbone_pipelined")]
SETTINGS = [one.name for one in REGISTERS
            if one.kind == "setting" and one.name not in ("irq_enable", "watchdog_limit")]
OFTEN = [register(name) for name in ("prompt_token", "generated_token", "levels", "errors",
                                     "irq_status", "status", "kv_save_data", "kv_restore_data",
                                     "image_address", "image_data")]


def random_access(rng):
    """Mostly queues and sticky bits; now and then a command, and short limits."""
    if rng.random() < 0.1:
        return Access(register("watchdog_limit").offset, True, rng.choice((0, 4, 9)))
    if rng.random() < 0.15:
        return Access(register("control").offset, True, rng.choice((1, 1, 2, 4, 8, 16, 31)))
    one = rng.choice(OFTEN if rng.random() < 0.7 else REGISTERS)
    if one.name == "watchdog_limit" or rng.random() < 0.5:
        return Access(one.offset)
    return Access(one.offset, True, rng.getrandbits(32))


class Datapath:
    """Random inputs from behind the port; offers stay until they are taken."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.generated = self.save = None
        self.draining = 0

    def draw(self):
        rng = self.random
        if self.generated is None and rng.random() < 0.2:
            self.generated = rng.getrandbits(24), rng.random() < 0.3
        if self.save is None and rng.random() < 0.2:
            self.save = rng.getrandbits(32)
        quiet = rng.random() < 0.97
        return Inputs(
            status={name: rng.getrandbits(32) for name in
                    ("status", "position", "random_state", "kv_words")},
            set_errors=0 if quiet else 1 << rng.randrange(16),
            set_irq_status=0 if quiet else 1 << rng.randrange(5),
            counting=frozenset(name for name, _ in COUNTERS if rng.random() < 0.5),
            prompt_ready=rng.random() < 0.1, generated=self.generated, save=self.save,
            restore_ready=rng.random() < 0.1, image_ready=rng.random() < 0.1,
            busy=rng.random() < 0.9,
            progress=rng.random() < 0.2, draining=self.draining > 0,
            fault=Error(*(rng.random() < 0.01 for _ in range(3))),
            error_address=rng.getrandbits(64))

    def step(self, model, out, taken):
        if self.generated is not None and out.generated_ready:
            self.generated = None
        if taken or out.soft_reset:
            self.save = None
        if out.stop:
            self.draining = self.random.choice((0, 1, 40))
        elif out.abandon:
            self.draining = 0
        elif self.draining:
            self.draining -= 1


def drive(ctx, dut, now):
    for name, value in now.status.items():
        ctx.set(Value.cast(getattr(dut, name)), value)
    for name in ("set_errors", "set_irq_status"):
        ctx.set(Value.cast(getattr(dut, name)), getattr(now, name))
    ctx.set(dut.count, {name: int(name in now.counting) for name, _ in COUNTERS})
    ctx.set(dut.o_prompt.ready, now.prompt_ready)
    ctx.set(dut.i_generated.valid, now.generated is not None)
    if now.generated is not None:
        ctx.set(dut.i_generated.payload, dict(zip(("token", "last"), now.generated)))
    ctx.set(dut.i_save.valid, now.save is not None)
    ctx.set(dut.i_save.payload, now.save or 0)
    ctx.set(dut.o_restore.ready, now.restore_ready)
    ctx.set(dut.o_image_address.ready, now.image_ready)
    ctx.set(dut.o_image_data.ready, now.image_ready)
    for name in ("busy", "progress", "draining", "error_address"):
        ctx.set(getattr(dut, name), getattr(now, name))
    ctx.set(dut.fault, {name: int(getattr(now.fault, name)) for name in Error._fields})


def check(ctx, dut, model, now):
    out = model.outputs(now)
    for name in ("irq", "start", "halt", "check", "soft_reset", "stop", "abandon", "clear_fault"):
        assert ctx.get(getattr(dut, name)) == getattr(out, name), name
    for name in ("prompt", "restore", "image_address", "image_data"):
        port, word = getattr(dut, f"o_{name}"), getattr(out, name)
        assert ctx.get(port.valid) == (word is not None), name
        if word is not None:
            assert ctx.get(port.payload) == word
    assert ctx.get(dut.i_generated.ready) == out.generated_ready
    assert ctx.get(Value.cast(dut.kv_control)) == out.kv_control
    for name in SETTINGS:
        assert ctx.get(Value.cast(getattr(dut, name))) == model.registers.words[name], name
    slave = model.slave
    if isinstance(slave, axi_lite.AxiLite):
        bus = dut.s_axi
        assert (ctx.get(bus.bvalid), ctx.get(bus.rvalid)) \
            == (slave.b is not None, slave.r is not None)
        if slave.b is not None:
            assert ctx.get(bus.bresp) == slave.b
        if slave.r is not None:
            assert (ctx.get(bus.rdata), ctx.get(bus.rresp)) == slave.r
    elif slave.answer is not None:
        assert ctx.get(dut.wb.dat_r) == slave.answer.data
        assert ctx.get(dut.wb.err) == slave.answer.error
    return out


def run(dut, cycles=1200, seed=1):
    """Compare every output in every cycle; returns how often each pulse was seen."""
    rng = random.Random(seed)
    accesses = [Access(register("irq_enable").offset, True, 0b11111),
                *(random_access(rng) for _ in range(cycles // 6))]
    model, datapath = Model(dut.config), Datapath(seed + 1)
    axi = dut.config.bus == "axi_lite"
    bus = dut.s_axi if axi else dut.wb
    master = (AxiLiteMaster(accesses, seed + 2, 0.7) if axi
              else WishboneMaster(accesses, seed + 2, 0.7, 0.01))
    seen = dict.fromkeys(("stop", "abandon", "start", "irq"), 0)

    async def bench(ctx):
        for _ in range(cycles):
            now = datapath.draw()
            master.drive()
            master.set(ctx, bus)
            drive(ctx, dut, now)
            out = check(ctx, dut, model, now)
            for name in seen:
                seen[name] += getattr(out, name)
            if axi:
                pins = axi_lite.Inputs(**master.offers, b_ready=master.ready["b"],
                                       r_ready=master.ready["r"])
            else:
                pins = wishbone.Inputs(master.cyc, master.access)
            master.step(model.slave)
            # The data path's view of the cycle: what the model takes, the hardware takes.
            ready = ctx.get(dut.i_save.ready) and now.save is not None
            taken = model.step(pins, now)
            assert ready == taken
            datapath.step(model, out, taken)
            await ctx.tick()

    simulate(dut, bench)
    return seen


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.bus)
def test_every_output_in_every_cycle(config):
    seen = run(Control(config))
    assert min(seen.values()) > 2, seen


@pytest.mark.parametrize(("old", "new"), [
    ("& ~held),\n            self.halt", "),\n            self.halt"),
    ("flushed = ResetInserter(self.soft_reset)", "flushed = ResetInserter(C(0))"),
    ("watchdog.busy.eq(self.busy | waiting)", "watchdog.busy.eq(self.busy)"),
    ("config.prompt_depth - prompt.level", "prompt.level"),
    ("& ~Value.cast(self.fault).any()),", "),")])
def test_a_planted_bug_is_seen(old, new):
    with pytest.raises(AssertionError):
        run(mutant(Control, old, new)(CONFIGS[0]))


@pytest.mark.parametrize(("change", "message"), [
    ({"bus": "apb"}, "bus must be one of axi_lite, wishbone, wishbone_pipelined, not 'apb'"),
    ({"registers": RegisterFileConfig(prompt_depth=1)},
     "registers.prompt_depth must be at least 2, not 1")])
def test_config_refuses(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        ControlConfig(**change)
