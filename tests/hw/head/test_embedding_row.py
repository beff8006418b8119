# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.head import embedding_row as golden
from golden_model.head_config import PLANES, EmbeddingRowConfig
from golden_model.image_config import ImagePortConfig
from hw.head.embedding_row import EmbeddingRow
from sim.simulator import fetch, receive, send, simulate
from tests.mutants import mutant

PORT = ImagePortConfig(beat_bits=8, address_bits=12)
CONFIGS = [EmbeddingRowConfig(port=PORT, rows=4, width=8, lanes=4, max_n=24),
           EmbeddingRowConfig(port=PORT, rows=2, width=6, lanes=2, max_n=17),
           EmbeddingRowConfig(port=PORT, rows=1, width=2, lanes=2, max_n=6)]
BASE = 37


def matrix(config, seed=1):
    codes = np.random.default_rng(seed).integers(-13, 14, (11, config.max_n))
    codes[0], codes[1] = 13, -13
    return codes


def planes(code):
    """Trits of a code, the top one first."""
    trits = []
    for _ in range(PLANES):
        trits.append((code + 1) % 3 - 1)
        code = (code - trits[-1]) // 3
    return trits[::-1]


def image(config, codes):
    """Trits of each beat [rows][width], by address."""
    tiles, beats = -(-codes.shape[1] // config.width), {}
    padded = np.pad(codes, [(0, -len(codes) % config.rows), (0, -codes.shape[1] % config.width)])
    for block in range(len(padded) // config.rows):
        rows = padded[block * config.rows:(block + 1) * config.rows]
        for plane in range(PLANES):
            for tile in range(tiles):
                part = rows[:, tile * config.width:(tile + 1) * config.width]
                beats[BASE + (block * PLANES + plane) * tiles + tile] = [
                    [planes(int(code))[plane] for code in row] for row in part]
    return beats


def run(config, tokens, n, stall=0.0, latency=2, build=EmbeddingRow):
    dut, got, asked, logs = build(config), [], [], ([], [])
    tiles = -(-n // config.width)
    codes = matrix(config)[:, :tiles * config.width]
    codes[:, n:n + -n % config.lanes] = 0
    beats = image(config, codes)  # what lies beyond the last beat is not zero

    async def commands(ctx):
        await send(ctx, dut.i_command, [
            {"token": token, "address": BASE, "tiles": tiles, "beats": -(-n // config.lanes)}
            for token in tokens])

    async def requests(ctx):
        await receive(ctx, dut.o_request, PLANES * tiles * len(tokens), asked, stall=stall,
                      log=logs[0])

    async def memory(ctx):
        wanted = [[beats[address]] for token in tokens
                  for address in golden.addresses(config, token, BASE, tiles)]
        await fetch(ctx, dut.i, logs[0], wanted, latency, stall=stall)

    async def sink(ctx):
        await receive(ctx, dut.o, len(tokens) * -(-n // config.lanes), got, stall=stall,
                      log=logs[1])
    simulate(dut, commands, requests, memory, sink)
    assert all(one.beats == 1 for one in asked)
    return [one.address for one in asked], [list(one) for one in got], logs


def expected(config, tokens, n):
    codes, tiles = matrix(config)[:, :n], -(-n // config.width)
    return ([each for token in tokens for each in golden.addresses(config, token, BASE, tiles)],
            [beat for token in tokens for beat in golden.row(config, codes[token])])


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_matches_golden_model(config, stall):
    for n in (config.max_n, config.lanes, config.width + 1):
        tokens = [0, 1, 10, 7, 3]
        assert run(config, tokens, n, stall)[:2] == expected(config, tokens, n)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("latency", [1, 2, 5])
def test_cycles_are_the_models(config, latency):
    *_, logs = run(config, [3], config.max_n, latency=latency)
    assert logs == tuple(golden.cycles(config, config.max_n, latency))


def test_golden_model_is_pinned():
    config = CONFIGS[0]
    assert golden.addresses(config, 9, 100, 2) == [112, 114, 116, 113, 115, 117]
    assert golden.cycles(config, 12, 2) == ([2, 3, 4, 5, 6, 7], [7, 8, 12])


@pytest.mark.parametrize(("old", "new"), [
    ("with m.If(plane == n):", "with m.If(plane >= n):"),
    ("Cat(trits[::-1])", "Cat(trits)"),
    ("word_select(part,", "word_select(part[1:],"),
    ("address.eq(block * tiles)", "address.eq(block * command.tiles)"),
    ("with m.If(last | (part == config.parts - 1)):", "with m.If(part == config.parts - 1):"),
])
def test_planted_bugs_are_seen(old, new):
    config, tokens = CONFIGS[0], [0, 1, 10, 7]
    try:
        result = run(config, tokens, 20, build=mutant(EmbeddingRow, old, new))[:2]
    except (AssertionError, KeyError):
        return
    assert result != expected(config, tokens, 20)
