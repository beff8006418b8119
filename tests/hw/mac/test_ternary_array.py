# SPDX-License-Identifier: Apache-2.0
import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model.config import ArrayConfig, config_hash
from golden_model.mac.ternary_array import (
    ArrayCycles,
    array_cycles,
    command_for,
    pack_weights,
    ternary_array,
    tile_activations,
)
from golden_model.mac.tile_loader import Command
from hw.mac import layouts, tree_core
from hw.mac import ternary_array as hardware
from hw.mac.accumulator import Accumulator
from hw.mac.ternary_array import TernaryArray
from hw.mac.tile_loader import TileLoader
from hw.mac.trit_unpacker import TritUnpacker
from sim.simulator import run_cycles
from tests.mutants import mutant

SMALL = ArrayConfig(rows=2, lanes=3, max_k=12, max_m=10, levels_per_stage=1)
CONFIGS = [SMALL, ArrayConfig(rows=1, lanes=1, max_k=4, max_m=3),
           ArrayConfig(rows=3, lanes=5, digit_bits=4, packing="2bit", max_k=17, max_m=9),
           ArrayConfig(rows=4, lanes=16, max_k=64, max_m=16),
           dataclasses.replace(SMALL, batch=2), dataclasses.replace(SMALL, batch=4),
           ArrayConfig(rows=3, lanes=5, digit_bits=4, packing="2bit", max_k=17, max_m=9, batch=3)]
BATCH = CONFIGS[5]


@dataclasses.dataclass
class Job:
    """One command with its operands."""

    command: Command
    trits: np.ndarray
    codes: np.ndarray


def random_jobs(config, count, seed):
    """Jobs of every shape; a third of them, but never the first, reuse activations."""
    rng = np.random.default_rng(seed)
    jobs = []
    for n in range(count):
        m = int(rng.integers(1, config.max_blocks * config.rows + 1))
        if n and rng.random() < 0.35:
            codes, digits, reuse = jobs[-1].codes, jobs[-1].command.digits, True
        else:
            digits, reuse = int(rng.integers(1, config.max_digits + 1)), False
            peak = 128 if digits == 2 else -config.dot.digit_range.start
            tokens = int(rng.integers(1, config.batch + 1)) if config.batch > 1 else 1
            codes = rng.integers(-peak, peak, (tokens, int(rng.integers(1, config.max_k + 1))))
            codes[0] = -peak
        tokens, k = codes.shape
        trits = rng.integers(-1, 2, (m, k))
        trits[0] = -1
        jobs.append(Job(command_for(config, m, k, digits, reuse, tokens), trits, codes))
    return jobs


def check_array(config, jobs, stall=0.0, seed=8, component=TernaryArray):
    """Results, order, and every cycle of every handshake; returns the transfers on ``o``."""
    words, beats, expected, final = [], [], [], []
    for job in jobs:
        if not job.command.reuse:
            words += tile_activations(config, job.codes, job.command.digits).tolist()
        beats += [int.from_bytes(beat.tobytes(), "little") & (1 << config.unpacker.packed_bits) - 1
                  for beat in pack_weights(config, job.trits)]
        expected += ternary_array(config, job.trits, job.codes).tolist()
        final += [False] * (job.command.blocks * job.command.tokens - 1) + [True]
    model, waiting = ArrayCycles(config), [job.command for job in jobs]

    def check(seen):
        cmd = waiting[0] if seen["i_cmd"][0] else None
        answers = model.step(cmd, bool(seen["i_x"][0]), bool(seen["i_w"][0]), bool(seen["o"][1]))
        assert [seen[name][1] for name in ("i_cmd", "i_x", "i_w")] == [
            answers.cmd_ready, answers.x_ready, answers.w_ready]
        assert seen["o"][0] == answers.o_valid
        if cmd and answers.cmd_ready:
            waiting.pop(0)

    commands = [job.command.fields(config) for job in jobs]
    taken = run_cycles(component(config), {"i_cmd": commands, "i_x": words, "i_w": beats},
                       {"o": len(expected)}, stall=stall, rng=np.random.default_rng(seed),
                       check=check)["o"]
    assert [[p.sums[row] for row in range(config.rows)] for _, p in taken] == expected
    assert [bool(p.last) for _, p in taken] == final
    return taken


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.1, 0.6])
def test_matches_golden_model_in_value_and_cycle(config, stall):
    check_array(config, random_jobs(config, 6, seed=9), stall)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1 << 30), stall=st.sampled_from([0.0, 0.05, 0.5, 0.9]))
def test_any_sequence_of_commands(seed, stall):
    check_array(SMALL, random_jobs(SMALL, 5, seed), stall, seed)


def test_latency_is_pinned():
    """From the last weight beat to the result: unpacker 1, memory 1, tree 2, accumulator 1."""
    config = ArrayConfig(rows=1, lanes=16, max_k=16)
    job = Job(command_for(config, 1, 16), np.ones((1, 16), int), np.ones(16, int))
    (cycle, payload), = check_array(config, [job])
    assert (payload.sums[0], config.latency) == (16, 5)
    # Command in cycle 0, activations in 1, weights leave the unpacker in 2.
    assert cycle == 2 + 4
    assert cycle + 1 == array_cycles(config, 1, 16) == 7


@pytest.mark.parametrize(("m", "k", "digits", "cycles"), [
    (2, 3, 1, 7), (10, 12, 2, 53), (9, 10, 1, 29), (1, 1, 2, 9)])
def test_cycles_are_pinned(m, k, digits, cycles):
    rng = np.random.default_rng(1)
    job = Job(command_for(SMALL, m, k, digits), rng.integers(-1, 2, (m, k)), rng.integers(-8, 8, k))
    assert check_array(SMALL, [job])[-1][0] + 1 == array_cycles(SMALL, m, k, digits) == cycles


@pytest.mark.parametrize(("m", "k", "digits"), [(1, 1, 1), (2, 12, 2), (5, 7, 1), (10, 3, 2)])
def test_commands_follow_each_other_without_a_bubble(m, k, digits):
    rng = np.random.default_rng(1)
    jobs = [Job(command_for(SMALL, m, k, digits), rng.integers(-1, 2, (m, k)),
                rng.integers(-8, 8, k)) for _ in range(7)]
    taken = check_array(SMALL, jobs)
    assert taken[-1][0] + 1 == array_cycles(SMALL, m, k, digits, commands=7)
    steps = {b[0] - a[0] for a, b in itertools.pairwise(taken)}
    assert steps == {jobs[0].command.tiles * digits}


@pytest.mark.parametrize(("tokens", "m", "k", "digits"), [
    (4, 10, 12, 2), (3, 5, 7, 1), (1, 3, 3, 1)])
def test_a_batch_takes_the_beats_of_one_vector_and_the_cycles_of_all(tokens, m, k, digits):
    rng = np.random.default_rng(2)
    job = Job(command_for(BATCH, m, k, digits, tokens=tokens), rng.integers(-1, 2, (m, k)),
              rng.integers(-8, 8, (tokens, k)))
    cycles = check_array(BATCH, [job] * 3)[-1][0] + 1
    assert cycles == array_cycles(BATCH, m, k, digits, 3, tokens)
    # What is shared is loading the first vectors, and the pipeline.
    assert cycles - 1 - BATCH.core_latency - 1 == tokens * (
        array_cycles(BATCH, m, k, digits, 3) - 1 - BATCH.core_latency - 1)
    assert len(pack_weights(BATCH, job.trits)) == job.command.blocks * job.command.tiles


def test_tokens_of_a_block_leave_one_after_the_other():
    """Two blocks of two rows, two tokens: (block 0: token 0, token 1), (block 1: ...)."""
    config = dataclasses.replace(SMALL, batch=2)
    job = Job(command_for(config, 4, 3, tokens=2), np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1],
                                                             [1, 1, 1]]),
              np.array([[1, 2, 3], [4, 5, 6]]))
    assert [(cycle, list(p.sums)) for cycle, p in check_array(config, [job])] == [
        (7, [1, 2]), (8, [4, 5]), (9, [3, 6]), (10, [6, 15])]


@pytest.mark.parametrize("tokens", [0, 3])
def test_more_tokens_than_the_batch_are_refused(tokens):
    with pytest.raises(ValueError, match=f"^tokens must lie in 1..2 for this array, not {tokens}"):
        command_for(CONFIGS[4], 1, 1, tokens=tokens)


@pytest.mark.parametrize(("change", "message"), [
    ({"batch": 0}, "batch must be an integer of at least 1, not 0"),
    ({"batch": 5}, "batch must be at most 4, not 5"),
    ({"batch": 4, "max_k": 1 << 19, "acc_bits": 40}, "batch must be at most 2 for max_k = 524288")])
def test_batch_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        ArrayConfig(**change)


def test_a_batch_of_one_is_the_array_that_there_was():
    """The same hash as before there were batches, and the same ports."""
    assert config_hash(SMALL) == (
        "c6124a897d153a38")
    assert config_hash(BATCH) != config_hash(SMALL)
    assert set(layouts.command(SMALL).members) == {"blocks", "tiles", "digits", "reuse"}
    assert layouts.beat_tag(SMALL) == layouts.tag


@pytest.mark.parametrize(("old", "new"), [
    ("beat.p.address.token.eq(token)", "beat.p.address.token.eq(0)"),
    ("beat.p.tag.token.eq(token)", "beat.p.tag.token.eq(0)"),
    ("(tile == 0) & (digit == 0)", "(tile == 0)"),
    ("served, final = last_digit & last_token", "served, final = last_digit"),
    ("last_block & last_token", "last_block")])
def test_planted_bug_among_tokens_is_found(old, new):
    with pytest.raises((AssertionError, TimeoutError)):
        check_array(BATCH, random_jobs(BATCH, 6, seed=9), 0.3,
                    component=mutant(TernaryArray, old, new))


def test_reuse_costs_nothing():
    job = random_jobs(SMALL, 1, 3)[0]
    again = dataclasses.replace(job, command=job.command._replace(reuse=True))
    taken = check_array(SMALL, [job, again, again, again])
    assert len({b[0] - a[0] for a, b in itertools.pairwise(taken)}) == 1


def test_a_first_command_with_reuse_ends():
    config = ArrayConfig(rows=1, lanes=2, max_k=2)
    job = Job(Command(1, 1, 1, True), np.ones((1, 2), int), np.zeros(2, int))
    check_array(config, [job, Job(Command(1, 1), np.ones((1, 2), int), np.array([3, 4]))])


@pytest.mark.parametrize(("m", "k", "digits", "name"), [
    (0, 1, 1, "m"), (11, 1, 1, "m"), (1, 13, 1, "k"), (1, 1, 3, "digits")])
def test_command_beyond_the_array_is_refused(m, k, digits, name):
    with pytest.raises(ValueError, match=f"^{name} must lie in 1"):
        command_for(SMALL, m, k, digits)


def test_codes_beyond_the_digits_are_refused():
    with pytest.raises(ValueError, match=r"must lie in -16\.\.15, not 0\.\.16"):
        tile_activations(SMALL, [0, 16])
    assert tile_activations(SMALL, [-128, 127], 2).tolist() == [[-8, 7, 0], [0, 15, 0]]


def test_weights_are_packed_block_by_block():
    config = ArrayConfig(rows=2, lanes=2, max_k=4, max_m=4, packing="2bit")
    trits = [[1, 0, -1], [0, 0, 1], [-1, -1, 1]]
    assert pack_weights(config, trits).tolist() == [
        [0b00_00_00_01], [0b00_01_00_11], [0b00_00_11_11], [0b00_00_00_01]]


def _patched(kind, change):
    """Class of `kind` whose statements from `change` come last and win."""
    def elaborate(self, platform):
        m = kind.elaborate(self, platform)
        change(self, m)
        return m
    return type(f"Mutant{kind.__name__}", (kind,), {"elaborate": elaborate})


def high_digit_counts_once(dut, m):
    tag = dut.o.p.tag
    m.d.comb += tag.high.eq(0)


def last_tile_dropped(dut, m):
    with m.If(dut.o.p.tag.last):
        m.d.comb += [row.eq(0) for row in dut.o.p.sums]


def one_bank_is_loaded(dut, m):
    m.d.comb += dut.o_x.p.address.bank.eq(1)


def digits_loaded_over_each_other(dut, m):
    m.d.comb += dut.o_x.p.address.digit.eq(0)


def ready_one_cycle_early(dut, m):
    m.d.comb += dut.i.ready.eq(1)


def ready_only_when_empty(dut, m):
    m.d.comb += dut.i.ready.eq(~dut.o.valid)


def totals_block_the_next_block(dut, m):
    """Right values, but a total that waits holds up sums that need no room."""
    m.d.comb += dut.i.ready.eq(~dut.o.valid | dut.o.ready)


def results_called_last(dut, m):
    m.d.comb += dut.o.p.last.eq(1)


MUTANTS = [("TreeCore", tree_core.TreeCore, high_digit_counts_once),
           ("TreeCore", tree_core.TreeCore, last_tile_dropped),
           ("TileLoader", TileLoader, one_bank_is_loaded),
           ("TileLoader", TileLoader, digits_loaded_over_each_other),
           ("TritUnpacker", TritUnpacker, ready_one_cycle_early),
           ("TritUnpacker", TritUnpacker, ready_only_when_empty),
           ("Accumulator", Accumulator, totals_block_the_next_block),
           ("Accumulator", Accumulator, results_called_last)]


@pytest.mark.parametrize(("name", "kind", "change"), MUTANTS, ids=lambda value: getattr(
    value, "__name__", value))
def test_planted_bug_is_found(monkeypatch, name, kind, change):
    monkeypatch.setattr(hardware, name, _patched(kind, change))
    with pytest.raises((AssertionError, TimeoutError)):
        check_array(SMALL, random_jobs(SMALL, 8, seed=9), stall=0.5)
