# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest
from amaranth import C

from golden_model.ffn.gate_up import GateUpCycles, GateUpOffers, gate_up
from golden_model.ffn_config import GateUpConfig
from golden_model.sparse.row_gather import beats as row_beats
from hw.control.slack import Slack
from hw.ffn import gate_up as unit
from hw.ffn.gate_up import GateUp
from hw.ffn.relu2_glu import Relu2Glu
from tests.hw.ffn.lockstep import Memory, Sink, Source, Unit, lockstep, packed, small
from tests.mutants import mutant

CONFIGS = [GateUpConfig(rows=1, lanes=1, max_k=3, max_rows=5, width=1, pending=2, in_flight=2,
                        form="dsp"),
           GateUpConfig(rows=4, lanes=2, max_k=10, max_rows=23, width=5, pending=5, form="dsp"),
           GateUpConfig(rows=2, lanes=4, max_k=8, max_rows=24, width=8, packing="2bit",
                        digit_bits=5, pending=64)]
LATENCY = 4


class Case:
    """One vector: gates, up matrix, activations, scales."""

    def __init__(self, config, gate, k, seed):
        rng = np.random.default_rng(seed)
        limit = 1 << config.digit_bits - 1
        self.gate = np.asarray(gate, np.int64)
        self.codes = rng.integers(-limit, limit, k).astype(np.int8)
        self.up = rng.integers(-1, 2, (self.gate.size, k)).astype(np.int8)
        self.scales = np.ldexp(rng.integers(1 << 15, 1 << 16, 3).astype(float),
                               rng.integers(-40, -10, 3))
        self.peak = limit * k
        self.command = {"n": self.gate.size, "blocks": -(-k // config.width),
                        "peak_bits": self.peak.bit_length(),
                        "constants": {"gate": small(self.scales[1]), "up": small(self.scales[2])}}
        lanes = np.pad(self.gate, (0, -self.gate.size % config.rows)).reshape(-1, config.rows)
        self.gates = [{"gate": row, "last": n == len(lanes) - 1}
                      for n, row in enumerate(lanes.tolist())]
        self.result = gate_up(config, self.gate, self.up, self.codes, *self.scales, self.peak)


def cases(config, seed=1):
    """Empty, one active, all active, huge gates, few; lengths of one, two and odd."""
    rng = np.random.default_rng(seed)
    n, most = config.max_rows, 8 * config.max_k
    index = np.arange(n)
    draw = rng.integers(1, most + 1, n)
    masks = [index < 0, index == n - 1, index >= 0, rng.random(n) < 0.3, index == 0,
             index % 2 == 0]
    for number, mask in enumerate(masks):
        k = (config.max_k, 1, config.width)[number % 3]
        yield Case(config, np.where(mask, draw, -draw), k, seed + number)
    yield Case(config, np.full(n, most), config.max_k, seed)
    for short in (1, 2, n - 1):
        yield Case(config, rng.integers(-most, most, short), config.max_k, seed + short)


def run(config, work, stall=0.0, dut=None, model=None, gates=Source):
    """Check products, rows and scales; with `model`, every handshake of every cycle too."""
    dut = dut or GateUp(config)
    seeds = iter(range(100, 200))
    source = {name: Source(getattr(dut, name), payloads, stall, next(seeds))
              for name, payloads in {
                  "i_command": [case.command for case in work],
                  "i_vector": [beat for case in work
                               for beat in row_beats(config.gather, case.codes).tolist()],
                  "i_gate": [beat for case in work for beat in case.gates],
                  "i_scale": [small(case.scales[0]) for case in work]}.items()}
    source["i_gate"] = gates(dut.i_gate, source["i_gate"].queue, stall)
    sink = {name: Sink(getattr(dut, name), stall, next(seeds))
            for name in ("o_row", "o", "o_scale")}
    bursts = [[packed(config.packing, beat) for beat in row_beats(config.gather, case.up[row])]
              for case in work for row in case.result.rows]
    weights = Memory(dut.i_weights, sink["o_row"], bursts, LATENCY, stall, next(seeds))
    multiplier = Unit(dut.o_request, dut.i_response, stall=stall)
    beats = sum(2 * len(case.result.words) for case in work)

    def check(ctx, cycle):
        gate = source["i_gate"].port
        offered = source["i_gate"].valid or source["i_gate"].taken
        case = ctx.get(dut.i_command.payload)
        offers = GateUpOffers(
            command=(case.n, case.blocks) if ctx.get(dut.i_command.valid) else None,
            vector=bool(ctx.get(dut.i_vector.valid)),
            gate=([lane for lane, value in enumerate(ctx.get(gate.p.gate)) if value > 0],
                  bool(ctx.get(gate.p.last))) if offered else None,
            scale=bool(ctx.get(dut.i_scale.valid)), weights=bool(ctx.get(dut.i_weights.valid)),
            row_ready=sink["o_row"].ready, o_ready=sink["o"].ready,
            scale_ready=sink["o_scale"].ready, request_ready=multiplier.request.ready,
            response=bool(ctx.get(dut.i_response.valid)))
        ports = model.answer(offers)
        seen = [bool(ctx.get(port)) for port in (
            dut.i_vector.ready, dut.i_gate.ready, dut.i_scale.ready, dut.i_weights.ready,
            dut.o_row.valid, dut.o.valid, dut.o_scale.valid, dut.o_request.valid)]
        assert seen == [ports.vector, ports.gate, ports.scale, ports.weights, ports.row is not None,
                        ports.o, ports.o_scale, ports.request], f"cycle {cycle}"
        if offers.command:
            assert bool(ctx.get(dut.i_command.ready)) == ports.command, f"cycle {cycle}"
        if ports.row is not None:
            assert ctx.get(dut.o_row.payload) == ports.row
        model.tick(offers)

    lockstep(dut, [*source.values(), *sink.values(), weights, multiplier],
             lambda: len(sink["o"].payloads) == beats
             and len(sink["o_scale"].payloads) == len(work) == len(source["i_command"].cycles),
             check if model else None)
    assert [list(beat.words) for beat in sink["o"].payloads] == [
        row for case in work for _ in range(2) for row in case.result.words.tolist()]
    assert [beat.last for beat in sink["o"].payloads] == [
        int(n == len(case.result.words) - 1) for case in work for _ in range(2)
        for n in range(len(case.result.words))]
    assert sink["o_row"].payloads == [row for case in work for row in case.result.rows.tolist()]
    assert [{"m": s.m, "e": s.e} for s in sink["o_scale"].payloads] == [
        small(case.result.scale) for case in work]
    return source, sink, weights


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.4], ids=["full_rate", "stalled"])
def test_values_and_every_handshake_match_golden_model(config, stall):
    run(config, list(cases(config))[::2 if stall else 1], stall, model=GateUpCycles(config))


def test_up_rows_are_fetched_while_gates_come():
    """Every cycle pinned: hardware and test both follow the model and would drift together."""
    config = CONFIGS[1]
    case = Case(config, [5, 0, 7, 1, -3, -2, 0, 9, 4], 10, seed=1)
    source, sink, weights = run(config, [case])
    assert source["i_vector"].cycles == [0, 1]
    assert source["i_gate"].cycles == [0, 1, 2]
    assert sink["o_row"].payloads == [0, 2, 3, 7, 8]
    assert sink["o_row"].cycles == [5, 6, 7, 8, 9]
    assert weights.cycles == [9, 10, 11, 12, 13, 14, 15, 16, 17, 18]
    assert config.mask_latency == 5
    assert (config.glu.latency, config.product_latency) == (8, 11)
    # Row 2 ends the first beat: 5 cycles to its sum, 11 to its product, 2 to the beat.
    assert config.gather.latency == 5
    assert sink["o"].cycles[:5] == [30, 34, 35, 36, 37]
    assert sink["o"].cycles[5:] == [38, 39, 40, 41, 42]
    assert sink["o_scale"].cycles == [4 * 24 + 1]


class LastGateLate(Source):
    """Holds a vector's last gate back to cycle 40."""

    def arrived(self, cycle):
        return super().arrived(cycle) and (cycle >= 40 or not self.queue[0]["last"])


def test_sums_that_wait_for_the_last_gate_hold_up_the_rows():
    config = CONFIGS[0]
    case = Case(config, [3] * 5, 1, seed=2)
    _, sink, _ = run(config, [case], gates=LastGateLate)
    assert sink["o_row"].cycles[:4] == [5, 6, 11, 12]


class Hasty(GateUp):
    """Multiplies by the shift that is there before the last gate is."""

    def products(self, m, *units):
        known, self.shift_known = self.shift_known, C(1, 1)
        super().products(m, *units)
        self.shift_known = known


class Late(Relu2Glu):
    """A product out of step with its index."""

    def __init__(self, config):
        super().__init__(dataclasses.replace(config, rows_per_stage=1))


@pytest.mark.parametrize(("owner", "name", "broken"), [
    (unit, "Relu2Glu", Late), (GateUpConfig, "masks", 3)], ids=["out_of_step", "lost_masks"])
def test_a_planted_bug_is_noticed(monkeypatch, owner, name, broken):
    config = GateUpConfig(rows=1, max_k=8, max_rows=23, width=4, pending=8)
    case = Case(config, np.arange(1, 24), 8, seed=3)
    run(config, [case])
    monkeypatch.setattr(owner, name, broken)
    with pytest.raises((AssertionError, TimeoutError)):
        run(config, [case])


@pytest.mark.parametrize(("old", "new"), [
    ("self.i.ready.eq(~waiting)", "self.i.ready.eq(self.o.ready)"),
    ("Mux(waiting, held, self.i.payload)", "self.i.payload")], ids=["none", "forgetful"])
def test_a_broken_slack_is_noticed(monkeypatch, old, new):
    config = GateUpConfig(rows=1, max_k=8, max_rows=23, width=4, pending=8)
    case = Case(config, np.arange(1, 24), 8, seed=3)
    run(config, [case], model=GateUpCycles(config), gates=LastGateLate)
    monkeypatch.setattr(unit, "Slack", mutant(Slack, old, new))
    with pytest.raises((AssertionError, TimeoutError)):
        run(config, [case], model=GateUpCycles(config), gates=LastGateLate)


def test_a_shift_of_the_gates_so_far_is_noticed():
    config = GateUpConfig(rows=1, max_k=64, max_rows=5, width=16)
    case = Case(config, [1] * 4 + [512], 64, seed=3)
    run(config, [case], gates=LastGateLate)
    with pytest.raises(AssertionError):
        run(config, [case], dut=Hasty(config), gates=LastGateLate)


def test_memory_is_pinned():
    assert GateUpConfig().memory_bits == 4096 * (15 + 1 + 24) + 512 * (12 + 15 + 1)


@pytest.mark.parametrize(("field", "value"), [
    ("rows", 3), ("lanes", 5), ("pending", 1), ("pending", 1 << 17), ("max_k", 1 << 20),
    ("max_rows", 0), ("in_flight", 0)])
def test_config_refuses(field, value):
    with pytest.raises(ValueError, match=f"{field} must be .* not {value}"):
        GateUpConfig(**{field: value})
