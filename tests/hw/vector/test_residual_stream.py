# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model import smallfloat
from golden_model.stream_config import ResidualStreamConfig
from golden_model.vector import residual_stream as golden
from hw.vector.residual_stream import Action, ResidualStream
from sim.simulator import receive, send, simulate
from tests.hw.quant.tokens import small
from tests.mutants import mutant

CONFIGS = [ResidualStreamConfig(lanes=4, width=8, max_n=40, sum_bits=20),
           ResidualStreamConfig(lanes=2, width=2, max_n=12, sum_bits=12),
           ResidualStreamConfig(lanes=1, width=5, max_n=7, sum_bits=23)]
SHIFT = 16


def tokens(config, seed=1):
    """Vectors, each with its additions: sums and their scales."""
    rng = np.random.default_rng(seed)
    peak = 1 << config.sum_bits - 1
    for beats in (1, config.max_beats, 2):
        n = beats * config.lanes
        codes = rng.integers(-1 << config.code_bits - 1, 1 << config.code_bits - 1, n)
        yield codes, smallfloat.from_float(rng.uniform(0.1, 40)), [
            (rng.integers(-peak, peak, n), smallfloat.from_float(2.0 ** -exponent))
            for exponent in (14, SHIFT + 1)]


def steps(config):
    """Commands in turn: load, read, then add and read for each addition; and what is read."""
    commands, reads = [], []
    for codes, unit, additions in tokens(config):
        beats = codes.size // config.lanes
        commands += [("load", beats, codes, unit), ("read", beats, None, None)]
        x = golden.load(codes, unit, SHIFT)
        reads.append(x)
        for sums, scale in additions:
            x = golden.add(x, sums, scale, SHIFT)
            commands += [("add", beats, sums, scale), ("read", beats, None, None)]
            reads.append(x)
    return commands, reads


def wide(config, sums):
    """Beats of sums, filled up with what must not matter."""
    return np.pad(sums, (0, -sums.size % config.width), constant_values=-3).reshape(
        -1, config.width).tolist()


def run(config, stall=0.0, build=ResidualStream):
    """Words read, pass ends, and the cycle in which each command is done."""
    dut, got, done = build(config), [], []
    commands, reads = steps(config)

    async def command(ctx):
        await send(ctx, dut.i_command, [
            {"action": Action[action.upper()].value, "beats": beats, "shift": SHIFT,
             "scale": small(scale if scale is not None else 1.0)}
            for action, beats, _, scale in commands], stall=stall, log=done)

    async def codes(ctx):
        await send(ctx, dut.i_codes, [row for action, _, x, _ in commands if action == "load"
                                      for row in x.reshape(-1, config.lanes).tolist()],
                   stall=stall)

    async def sums(ctx):
        await send(ctx, dut.i_sums, [row for action, _, y, _ in commands if action == "add"
                                     for row in wide(config, y)], stall=stall)

    async def sink(ctx):
        total = 2 * sum(x.size // config.lanes for x in reads)
        await receive(ctx, dut.o, total, got, stall=stall)
    simulate(dut, command, codes, sums, sink)
    return ([word for one in got for word in one.words],
            [n for n, one in enumerate(got) if one.last], done)


def expected(config):
    _, reads = steps(config)
    return [word for x in reads for word in [*x.tolist(), *x.tolist()]]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_matches_golden_model(config, stall):
    words, ends, done = run(config, stall)
    commands, reads = steps(config)
    assert words == expected(config)
    passes = [x.size // config.lanes for x in reads for _ in range(2)]
    assert ends == (np.cumsum(passes) - 1).tolist()
    if not stall:
        took = [golden.cycles(config, action, beats) for action, beats, *_ in commands]
        assert done == (np.cumsum(took) - 1).tolist()


def test_cycles_are_pinned():
    assert [golden.cycles(CONFIGS[0], action, 10) for action in ("load", "read", "add")] == [
        10 + CONFIGS[0].add.latency, 21, 11 + CONFIGS[0].add.latency]


@pytest.mark.parametrize(("old", "new"), [
    ("asked.eq(second | ~reading)", "asked.eq(second)"),
    ("read.en.eq(advance)", "read.en.eq(1)"),
    ("Mux(written == last_written, 0, written + 1)", "written + 1"),
    ("end.eq(second)", "end.eq(1)"),
    ("last_written.eq(final)", "last_written.eq(final - 1)"),
    ("(command.beats == 1)", "(command.beats == 2)"),
])
def test_a_planted_bug_is_noticed(monkeypatch, old, new):
    monkeypatch.setattr("sim.simulator.PATIENCE", 300)
    try:
        words, *_ = run(CONFIGS[0], 0.5, build=mutant(ResidualStream, old, new))
    except AssertionError:
        return   # it hangs
    assert words != expected(CONFIGS[0])


def several(build=ResidualStream):
    """Words read of the vectors of three tokens that take turns, and what they should be."""
    config = ResidualStreamConfig(lanes=2, width=4, max_n=10, sum_bits=12, batch=3)
    dut, rng, beats = build(config), np.random.default_rng(3), 5
    codes = rng.integers(-16, 16, (3, 10))
    sums = rng.integers(-2048, 2048, (3, 10))
    scale = smallfloat.from_float(2.0 ** -14)
    turns = [(action, token) for action in ("load", "read", "add", "read")
             for token in ((2, 0, 1) if action == "add" else (0, 1, 2))]
    got, words, wanted = [], {}, []
    for action, token in turns:
        if action == "load":
            words[token] = golden.load(codes[token], scale, SHIFT)
        elif action == "add":
            words[token] = golden.add(words[token], sums[token], scale, SHIFT)
        else:
            wanted += 2 * words[token].tolist()

    async def command(ctx):
        await send(ctx, dut.i_command, [
            {"action": Action[action.upper()].value, "beats": beats, "shift": SHIFT,
             "scale": small(scale), "token": token} for action, token in turns])

    async def load(ctx):
        await send(ctx, dut.i_codes, [row for token in range(3)
                                      for row in codes[token].reshape(-1, 2).tolist()])

    async def add(ctx):
        await send(ctx, dut.i_sums, [row for token in (2, 0, 1)
                                     for row in wide(config, sums[token])])

    async def sink(ctx):
        await receive(ctx, dut.o, len(wanted) // 2, got)
    simulate(dut, command, load, add, sink)
    return [word for one in got for word in one.words], wanted


def test_each_token_has_a_vector():
    words, wanted = several()
    assert words == wanted


def test_a_vector_of_the_wrong_token_is_noticed():
    words, wanted = several(mutant(ResidualStream, "write.addr.eq(self.place(written))",
                                   "write.addr.eq(written)"))
    assert words != wanted
