# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.attention.rope import rope_tables
from golden_model.stream_config import RotationConfig
from golden_model.vector import rotation as golden
from hw.vector.rotation import Rotation
from sim.simulator import receive, send, simulate
from tests.mutants import mutant

CONFIGS = [RotationConfig(rows=2, lanes=8, max_n=16, sum_bits=12),
           RotationConfig(rows=4, lanes=4, max_n=8, sum_bits=18),
           RotationConfig(rows=2, lanes=4, max_n=8, ahead=1),
           RotationConfig(rows=2, lanes=4, max_n=8, ahead=2)]
SHAPES = [(4, 2), (1, 1), (2, 2), (6, 2)]
PAIRS = [(4, 2), (2, 1), (8, 2)]
"""Of these two queries of a KV head come ahead."""


def token(config, heads, kv_heads, seed):
    """Return sums of keys, values and queries, and the turns of a position."""
    rng, peak = np.random.default_rng(seed), 1 << config.sum_bits - 1
    k, v, q = (rng.integers(-peak, peak, (n, config.max_n)) for n in (kv_heads, kv_heads, heads))
    k[0, 0], v[0, 0], q[0, -1] = -peak, peak - 1, peak - 1
    cos, sin = rope_tables(40, config.max_n, 10_000.0)
    return k, v, q, cos[3 * seed], sin[3 * seed]


def run(config, stall=0.0, build=Rotation):
    """Words of some tokens, and the cycles of sums and words."""
    dut, got, logs, wanted = build(config), [], ([], []), []
    commands, sums, turns = [], [], []
    for seed, (heads, kv_heads) in enumerate(PAIRS if config.ahead == 2 else SHAPES):
        k, v, q, cos, sin = token(config, heads, kv_heads, seed)
        commands.append({"heads": heads // kv_heads if config.ahead else heads,
                         "kv_heads": kv_heads,
                         "blocks": config.max_n // config.rows})
        stored = golden.ordered(config, golden.paired(k), v, golden.paired(q))
        sums += stored.reshape(-1, config.rows).tolist()
        table = [[{"cos": int(c), "sin": int(s)} for c, s in pair] for pair in np.stack(
            [cos, sin], axis=-1).reshape(-1, config.rope.pairs, 2)]
        turns += table * (heads + kv_heads)
        wanted += golden.words(config, k, v, q, cos, sin).reshape(-1, config.lanes).tolist()

    async def command(ctx):
        await send(ctx, dut.i_command, commands)

    async def source(ctx):
        await send(ctx, dut.i, sums, stall=stall, log=logs[0])

    async def table(ctx):
        await send(ctx, dut.i_turns, turns, stall=stall, seed=5)

    async def sink(ctx):
        await receive(ctx, dut.o, len(wanted), got, stall=stall, log=logs[1])
    simulate(dut, command, source, table, sink)
    return [list(one) for one in got], wanted, logs


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_matches_golden_model(config, stall):
    got, wanted, (taken, given) = run(config, stall)
    assert got == wanted
    if not stall:
        assert taken == list(range(len(taken)))
        assert given == [cycle + config.latency for cycle in taken[config.parts - 1::config.parts]]


def test_latency_is_pinned():
    assert [config.latency for config in CONFIGS] == [7, 7, 7, 7]


@pytest.mark.parametrize(("old", "new"), [
    ("self.i_turns.ready.eq(taken & ~still)", "self.i_turns.ready.eq(taken)"),
    ("Mux(still, 0, turn.sin)", "turn.sin"),
    ("Mux(part == Part.QUERIES, command.heads, command.kv_heads)", "command.kv_heads"),
])
def test_planted_bugs_are_seen(old, new):
    try:
        got, wanted, _ = run(CONFIGS[0], 0.5, mutant(Rotation, old, new))
    except AssertionError:
        return
    assert got != wanted


@pytest.mark.parametrize(("old", "new"), [
    ("m.d.sync += group.eq(0)", "pass"), ("head == config.ahead", "head == config.ahead + 1")])
def test_groups_gone_wrong_are_seen(old, new):
    try:
        got, wanted, _ = run(CONFIGS[2], 0.0, mutant(Rotation, old, new))
    except AssertionError:
        return
    assert got != wanted
