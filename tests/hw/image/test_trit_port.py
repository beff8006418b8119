# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.config import UnpackerConfig
from golden_model.image import trit_port as golden
from golden_model.image_config import ImagePortConfig, TritPortConfig
from hw.image.trit_port import TritPort
from sim.simulator import receive, send, simulate
from tests.mutants import mutant


def config(trits, packing):
    unpacker = UnpackerConfig(trits=trits, packing=packing)
    return TritPortConfig(port=ImagePortConfig(beat_bits=unpacker.packed_bits), unpacker=unpacker)


CONFIGS = [config(80, "base3"), config(7, "base3"), config(6, "2bit")]


def run(config, stall=0.0, build=TritPort):
    rng, dut, got, logs = np.random.default_rng(1), build(config), [], ([], [])
    beats = [int.from_bytes(rng.bytes(32), "little") % (1 << config.port.beat_bits)
             for _ in range(40)]

    async def source(ctx):
        await send(ctx, dut.i, beats, stall=stall, log=logs[0])

    async def sink(ctx):
        await receive(ctx, dut.o, len(beats), got, stall=stall, log=logs[1])
    simulate(dut, source, sink)
    trits = [[(beat.trits >> 2 * n & 3) - (beat.trits >> 2 * n & 2) * 2
              for n in range(config.unpacker.trits)] for beat in got]
    return beats, [(beat.packed, each) for beat, each in zip(got, trits)], logs


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_a_beat_comes_with_its_trits(config, stall):
    beats, got, (taken, given) = run(config, stall)
    assert got == [golden.unpacked(config, beat) for beat in beats]
    assert stall or given == [cycle + config.latency for cycle in taken] == list(
        range(1, len(beats) + 1))


def test_golden_model_is_pinned():
    assert golden.unpacked(CONFIGS[1], 227 + (123 << 8)) == (31715, [1, -1, 0, 1, 1, -1, 1])


@pytest.mark.parametrize(("old", "new"), [
    ("m.d.sync += packed.eq(self.i.payload)", "m.d.sync += packed.eq(self.i.payload << 1)"),
    ("~self.o.valid | self.o.ready", "self.i.valid"),
])
def test_planted_bugs_are_seen(old, new):
    try:
        beats, got, _ = run(CONFIGS[0], 0.5, mutant(TritPort, old, new))
    except AssertionError:
        return
    assert got != [golden.unpacked(CONFIGS[0], beat) for beat in beats]


def test_a_port_of_another_width_is_refused():
    with pytest.raises(ValueError, match=r"port.beat_bits must be unpacker.packed_bits \(16\)"):
        TritPortConfig(port=ImagePortConfig(beat_bits=15), unpacker=UnpackerConfig(trits=7))
