# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from amaranth import C

from golden_model.config import UnpackerConfig
from golden_model.formats import pack_2bit, pack_base3
from golden_model.mac.trit_unpacker import UnpackerCycles, trit_unpacker
from hw.mac import trit_unpacker as hardware
from hw.mac.trit_unpacker import TritUnpacker
from sim.simulator import run_cycles


def check_unpacker(config, beats, stall=0.0):
    """Trits of every beat, and every cycle of both handshakes."""
    model = UnpackerCycles()

    def check(seen):
        (i_valid, i_ready), (o_valid, o_ready) = seen["i"], seen["o"]
        assert (o_valid, i_ready) == (model.valid, model.ready(o_ready))
        model.tick(i_valid, o_ready)

    payloads = [int.from_bytes(beat.tobytes(), "little") & (1 << config.packed_bits) - 1
                for beat in beats]
    taken = run_cycles(TritUnpacker(config), {"i": payloads}, {"o": len(beats)}, stall=stall,
                       rng=np.random.default_rng(3), check=check)
    got = [[payload[n] for n in range(config.trits)] for _, payload in taken["o"]]
    assert got == trit_unpacker(config, beats).tolist()


def every_byte(count):
    """Each byte value in each of `count` places."""
    return np.stack([np.roll(np.arange(256, dtype=np.uint8), 7 * n) for n in range(count)], axis=1)


@pytest.mark.parametrize("trits", [1, 4, 5, 6, 13])
@pytest.mark.parametrize("packing", ["base3", "2bit"])
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_every_byte_in_value_and_cycle(trits, packing, stall):
    config = UnpackerConfig(trits=trits, packing=packing)
    check_unpacker(config, every_byte(-(-config.packed_bits // 8)), stall)


@pytest.mark.parametrize(("packing", "pack"), [("base3", pack_base3), ("2bit", pack_2bit)])
def test_undoes_the_packing(packing, pack):
    trits = np.random.default_rng(4).integers(-1, 2, (20, 20))
    beats = pack(trits.reshape(-1)).reshape(20, -1)
    config = UnpackerConfig(trits=20, packing=packing)
    assert trit_unpacker(config, beats).tolist() == trits.tolist()
    check_unpacker(config, beats)


@pytest.mark.parametrize(("byte", "trits"), [
    (121, [0, 0, 0, 0, 0]), (0, [-1] * 5), (242, [1] * 5), (122, [1, 0, 0, 0, 0]),
    (202, [0, 0, 0, 0, 1]), (243, [-1] * 5), (255, [-1, 0, 0, -1, -1])])
def test_literal_bytes(byte, trits):
    taken = run_cycles(TritUnpacker(UnpackerConfig(trits=5)), {"i": [byte]}, {"o": 1})["o"]
    assert [(cycle, [payload[n] for n in range(5)]) for cycle, payload in taken] == [(1, trits)]


def test_spare_two_bit_code_comes_out_as_it_is():
    config = UnpackerConfig(trits=2, packing="2bit")
    (_, payload), = run_cycles(TritUnpacker(config), {"i": [0b0110]}, {"o": 1})["o"]
    assert [payload[0], payload[1]] == [-2, 1]


@pytest.mark.parametrize(("trits", "packing", "bits"), [
    (1, "base3", 8), (5, "base3", 8), (6, "base3", 16), (512, "base3", 824), (5, "2bit", 10)])
def test_beat_width_is_pinned(trits, packing, bits):
    assert UnpackerConfig(trits=trits, packing=packing).packed_bits == bits


def swapped_trits(digit):
    return -digit & 3


def long_remainder(index, bits, function):
    """Tables whose entry of all ones is that of zero."""
    last = (1 << len(index)) - 1
    return TABLE(index, bits, lambda n: function(0 if n == last - 3 else n))


TABLE = hardware.table


@pytest.mark.parametrize(("name", "mutant"), [("trit", swapped_trits), ("table", long_remainder)])
def test_planted_bug_is_found(monkeypatch, name, mutant):
    monkeypatch.setattr(hardware, name, mutant)
    with pytest.raises(AssertionError):
        check_unpacker(UnpackerConfig(trits=5), every_byte(1))


def test_a_unit_that_is_always_ready_is_found(monkeypatch):
    monkeypatch.setattr(hardware, "vacant", lambda m, ahead, name, *, advance: C(1))
    with pytest.raises(AssertionError):
        check_unpacker(UnpackerConfig(trits=5), every_byte(1), stall=0.5)
