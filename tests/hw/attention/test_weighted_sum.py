# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from amaranth import C, ResetInserter, Signal, Value, signed

from golden_model.attention.score import Load, Word
from golden_model.attention.weighted_sum import WeightedSumCycles, weighted_sums
from golden_model.attention_config import WeightedSumConfig
from hw.attention import weighted_sum as unit
from hw.attention.weighted_sum import WeightedSum
from sim.simulator import receive, run_cycles, send, simulate
from tests.hw.attention.tokens import row_payloads
from tests.mutants import mutant

CONFIGS = [WeightedSumConfig(lanes=8, queries=2, max_words=2, max_rows=9, beat=2),
           WeightedSumConfig(lanes=4, max_rows=9),
           WeightedSumConfig(lanes=6, queries=3, max_words=4, beat=3, max_rows=9, weight_bits=12),
           WeightedSumConfig(lanes=4, code_bits=4, bos_bits=4, max_words=2, max_rows=9, beat=1),
           WeightedSumConfig(lanes=8, queries=2, max_words=2, max_rows=9, beat=2,
                             kv_code="symmetric"),
           WeightedSumConfig(lanes=4, max_rows=9, kv_code="symmetric"),
           WeightedSumConfig(lanes=8, queries=2, max_words=2, max_rows=9, beat=2,
                             kv_code="minmax"),
           WeightedSumConfig(lanes=4, code_bits=4, max_rows=9, kv_code="minmax")]


def passes(config, seed=0):
    """Weights and codes of passes of several shapes; the first two have the largest sums."""
    rng = np.random.default_rng(seed)
    divisors = [n for n in range(1, config.max_words + 1) if config.max_words % n == 0]
    for number, rows in enumerate([9, 9, 1, 2, 5, 1, 1, 7]):
        words = divisors[-1 - number // 2 % len(divisors)]
        n = words * config.lanes - (config.beat if words > 1 and number % 2 else 0)
        weights = rng.integers(0, 1 << config.weight_bits, (rows, config.queries))
        codes = rng.integers(0, 1 << config.code_bits, (rows, n))
        codes[0] = rng.integers(0, 1 << config.bos_bits, n)
        if number < 2:
            weights[:] = (1 << config.weight_bits) - 1
            codes[:] = number and (1 << config.code_bits) - 1
            codes[0] = number and (1 << config.bos_bits) - 1
        zeros = rng.integers(0, 1 << config.code_bits, rows)
        zeros[0] = rng.integers(0, 1 << config.bos_bits)
        if number < 2:  # farthest from the codes
            zeros[:] = (1 - number) * ((1 << config.code_bits) - 1)
            zeros[0] = (1 - number) * ((1 << config.bos_bits) - 1)
        yield weights, codes, zeros if config.kv_code == "minmax" else None


def run(config, stall, seed=1):
    """Payloads of the hardware and of the golden model; every handshake is checked."""
    commands, weights, rows, wanted = [], [], [], []
    for weight, codes, zeros in passes(config):
        n = codes.shape[1]
        beats = n // config.beat
        commands.append({"beats": beats, "words": -(-n // config.lanes)})
        weights += [{"codes": row} for row in weight.tolist()] if zeros is None else [
            {"codes": row, "zero": zero} for row, zero in zip(weight.tolist(), zeros.tolist())]
        rows += row_payloads(config, codes)
        wanted += [(beat, int(number == beats - 1))
                   for head in weighted_sums(
            config, weight, codes, 0 if zeros is None else zeros)
                   for number, beat in enumerate(head.reshape(beats, -1).tolist())]
    model, at = WeightedSumCycles(config), [0, 0]

    def check(seen):
        offered = Load(**commands[at[0]]) if seen["i_command"][0] else None
        row = rows[at[1]] if seen["i_row"][0] else None
        word = row and Word(bool(row["bos"]), bool(row["last_word"]), bool(row["last"]))
        step = model.step(offered, bool(seen["i_weight"][0]), word, bool(seen["o"][1]))
        taken = [all(seen[name]) for name in ("i_command", "i_weight", "i_row")]
        assert (*taken, bool(seen["o"][0])) == step
        at[0] += taken[0]
        at[1] += taken[2]

    got = run_cycles(WeightedSum(config),
                     {"i_command": commands, "i_weight": weights, "i_row": rows},
                     {"o": len(wanted)}, stall=stall, rng=np.random.default_rng(seed), check=check)
    return [(list(p.sums), p.last) for _, p in got["o"]], wanted


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_matches_golden_model_in_value_and_cycle(config, stall):
    got, wanted = run(config, stall)
    assert got == wanted


def sums_behind_a_reset(build=WeightedSum):
    """Return a pass's sums, ahead of which another was dropped half way, and the model's."""
    config, reset, got = CONFIGS[1], Signal(), []
    _, (weight, codes, _), *_ = passes(config)
    rows, weights = row_payloads(config, codes), [{"codes": row} for row in weight.tolist()]
    beats = codes.shape[1] // config.beat
    dut = build(config)
    ports = {dut.i_command: [{"beats": beats, "words": 1}], dut.i_weight: weights,
             dut.i_row: rows}

    async def drop(ctx):
        for port, payloads in ports.items():
            ctx.set(port.payload, payloads[0])
            ctx.set(port.valid, 1)
        await ctx.tick().repeat(8)
        for port in ports:
            ctx.set(port.valid, 0)
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)

    def whole(port, payloads):
        async def bench(ctx):
            await ctx.tick().repeat(10)
            await send(ctx, port, payloads)
        return bench

    async def sink(ctx):
        await receive(ctx, dut.o, config.queries * beats, got)
    simulate(ResetInserter(reset)(dut), drop, sink,
             *(whole(port, payloads) for port, payloads in ports.items()))
    return np.array([list(one.sums) for one in got]), weighted_sums(
        config, weight, codes, 0).reshape(len(got), -1)


def test_a_reset_leaves_nothing_of_a_pass():
    got, wanted = sums_behind_a_reset()
    assert (got == wanted).all()


def test_sums_that_a_reset_leaves_are_noticed():
    got, wanted = sums_behind_a_reset(mutant(WeightedSum, "fresh = Signal(init=1)",
                                             "fresh = Signal()"))
    assert (got != wanted).any()


def test_widths_are_pinned():
    assert [config.sum_bits for config in CONFIGS] == [16, 16, 20, 17, 16, 16, 17, 18]
    assert WeightedSumConfig(max_rows=4096).sum_bits == 24
    assert WeightedSumConfig().latency == 6


def test_a_wrong_multiple_is_noticed(monkeypatch):
    monkeypatch.setattr(unit, "Array", lambda values: REAL_ARRAY(values[::-1]))
    got, wanted = run(CONFIGS[1], 0.0)
    assert got != wanted


REAL_ARRAY = unit.Array


def test_a_bos_row_taken_for_another_is_noticed(monkeypatch):
    monkeypatch.setattr(unit, "split_bos", lambda config, code, fine, second: Value.cast(code)[:3])
    got, wanted = run(CONFIGS[0], 0.0)
    assert got != wanted


def test_weights_counted_without_their_zero_points_are_noticed(monkeypatch):
    monkeypatch.setattr(unit, "zero_step", lambda config, zero, bos: C(1, signed(5)))
    got, wanted = run(CONFIGS[6], 0.0)
    assert got != wanted


@pytest.mark.parametrize(("wrong", "name"), [
    ({"lanes": 6}, "lanes"), ({"queries": 0}, "queries"), ({"beat": 0}, "beat"),
    ({"max_words": 0}, "max_words"), ({"bos_bits": 5}, "bos_bits"), ({"max_rows": 0}, "max_rows"),
    ({"weight_bits": 17}, "weight_bits"), ({"code_bits": 9}, "code_bits"),
    ({"kv_code": ""}, "kv_code")])
def test_config_refuses(wrong, name):
    with pytest.raises(ValueError, match=f"^{name} must"):
        WeightedSumConfig(**wrong)


def test_a_pipeline_that_is_always_ready_is_noticed(monkeypatch):
    monkeypatch.setattr(unit, "vacant", lambda m, ahead, name, *, advance: C(1))
    with pytest.raises(AssertionError):
        run(CONFIGS[0], 0.5)
