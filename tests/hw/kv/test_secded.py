# SPDX-License-Identifier: Apache-2.0
from itertools import combinations

import numpy as np
import pytest
from amaranth.sim import Simulator

from golden_model.kv.secded import State, decode, decode_word, encode, encode_word
from golden_model.memory_config import SecdedConfig
from hw.kv import secded
from hw.kv.secded import SecdedDecoder, protected

WIDTHS = [1, 6, 16, 33, 64, 100]


@pytest.mark.parametrize(("data_bits", "check_bits", "ones", "heaviest"), [
    (4, 4, 16, 4), (16, 6, 54, 9), (32, 7, 103, 15), (64, 8, 216, 27)])
def test_codes_are_as_light_as_hsiao_s(data_bits, check_bits, ones, heaviest):
    """Ones of the whole matrix and of its heaviest row, as table 1 of his paper gives them."""
    config = SecdedConfig(data_bits=data_bits)
    assert config.check_bits == check_bits
    columns = [*config.columns, *(1 << row for row in range(check_bits))]
    assert sum(column.bit_count() for column in columns) == ones
    assert max(sum(column >> row & 1 for column in columns)
               for row in range(check_bits)) == heaviest


@pytest.mark.parametrize("data_bits", [1, 2, 4, 11, 16, 33, 64, 120])
def test_columns_are_odd_and_differ(data_bits):
    config = SecdedConfig(data_bits=data_bits)
    columns = [*config.columns, *(1 << row for row in range(config.check_bits))]
    assert all(column.bit_count() % 2 for column in columns)
    assert len(set(columns)) == config.word_bits


def test_known_words():
    """Written out: a wrong column, or another order of bits, would show."""
    config = SecdedConfig(data_bits=4)
    assert config.columns == (0b0111, 0b1011, 0b1101, 0b1110)
    assert [encode(config, data) for data in (0, 1, 2, 0b1010, 15)] == [
        0, 0b0111_0001, 0b1011_0010, 0b0101_1010, 0b1111_1111]
    assert decode(config, 0b0111_0000) == (1, State.CORRECTED)
    assert decode(config, 0b0110_0001) == (1, State.CORRECTED)
    assert decode(config, 0b0100_0001).state is State.UNCORRECTABLE
    wide = SecdedConfig(data_bits=64)
    assert [encode(wide, 1 << bit) >> 64 for bit in (0, 1, 63)] == [*wide.columns[:2],
                                                                    wide.columns[63]]


@pytest.mark.parametrize("data_bits", [16, 64])
def test_all_single_flips_are_corrected_and_all_double_ones_detected(data_bits):
    config = SecdedConfig(data_bits=data_bits)
    data = int(np.random.default_rng(1).integers(1 << 62)) & (1 << data_bits) - 1
    word = encode(config, data)
    assert decode(config, word) == (data, State.CLEAN)
    flips = [1 << bit for bit in range(config.word_bits)]
    assert all(decode(config, word ^ flip) == (data, State.CORRECTED) for flip in flips)
    assert all(decode(config, word ^ one ^ other).state is State.UNCORRECTABLE
               for one, other in combinations(flips, 2))


def decoded(dut, words):
    """Return what the decoder says of each stored word."""
    found = []

    async def testbench(ctx):
        for word in words:
            ctx.set(dut.i, word)
            found.append((ctx.get(dut.o), ctx.get(dut.corrected), ctx.get(dut.uncorrectable)))

    sim = Simulator(dut)
    sim.add_testbench(testbench)
    sim.run()
    return found


def check(width, pairs):
    """Compare the decoder with the golden model on words with none, one and two flips."""
    rng = np.random.default_rng(width)
    data = [int.from_bytes(rng.bytes(16), "little") & (1 << width) - 1 for _ in range(3)]
    word = encode_word(width, data[0])
    flips = [0, *(1 << bit for bit in range(protected(width)))]
    words = [*(encode_word(width, one) for one in data), *(word ^ flip for flip in flips)]
    words += [word ^ one ^ other for one, other in list(combinations(flips, 2))[::pairs]]
    for stored, (got, corrected, uncorrectable) in zip(words, decoded(SecdedDecoder(width), words)):
        wanted = decode_word(width, stored)
        assert bool(uncorrectable) == (wanted.state is State.UNCORRECTABLE)
        assert uncorrectable or bool(corrected) == (wanted.state is State.CORRECTED)
        assert uncorrectable or got == wanted.data


@pytest.mark.parametrize("width", WIDTHS)
def test_the_decoder_matches_the_golden_model(width):
    check(width, 1 if width < 64 else 7)


def test_a_planted_bug_is_noticed(monkeypatch):
    monkeypatch.setattr(secded, "parity_of_one", lambda syndrome: syndrome[0])
    with pytest.raises(AssertionError):
        check(16, 1)


def test_config_refuses():
    for bits in (0, 121):
        with pytest.raises(ValueError, match=r"^data_bits must"):
            SecdedConfig(data_bits=bits)
