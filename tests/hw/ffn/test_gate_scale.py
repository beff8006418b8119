# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model import smallfloat
from golden_model.ffn.gate_scale import OPERATIONS, ScaleCycles, gate_scale
from golden_model.vector_config import Relu2GluConfig
from hw.ffn import gate_scale as unit
from hw.ffn.gate_scale import GateScale
from tests.hw.ffn.lockstep import Sink, Source, Unit, lockstep, small

CONFIG = Relu2GluConfig(lanes=2)


def cases(seed=1):
    """Scales, and the shift: ordinary, zero, too small, too large when shifted, the largest."""
    rng = np.random.default_rng(seed)
    for power in (-30, -12, -45, 22, 40):
        mantissas = rng.integers(1 << 15, 1 << 16, 3).astype(float)
        yield np.ldexp(mantissas, power), int(rng.integers(CONFIG.most_shift + 1))
    yield np.array([0.0, 1.5, 2.0 ** -20]), 29
    yield np.full(3, smallfloat.LARGEST), 0
    yield np.ldexp(np.full(3, 65535.0), 25), 29


def run(work, stall=0.0):
    """Check scales and every handshake; return the cycles of ``o``."""
    dut, model = GateScale(CONFIG), ScaleCycles()
    source = Source(dut.i, [small(scales[0]) for scales, _ in work], stall, 1)
    sink, multiplier = Sink(dut.o, stall, 2), Unit(dut.o_request, dut.i_response, stall=stall)
    rng = np.random.default_rng(4)
    known = False

    class Parent:
        """Offers the constants, and the shift after a while."""

        def drive(self, ctx, cycle):
            nonlocal known
            (_, gate, up), shift = work[min(len(sink.payloads), len(work) - 1)]
            known = (known and not sink.taken) or not stall or bool(rng.random() < 0.01)
            ctx.set(dut.constants, {"gate": small(gate), "up": small(up)})
            ctx.set(dut.shift, shift if known else 0)
            ctx.set(dut.shift_known, known)
            ctx.set(dut.enable, 1)

        def sample(self, ctx, cycle):
            """Nothing to note."""

    def check(ctx, cycle):
        assert bool(ctx.get(dut.i.ready)) == model.idle
        assert bool(ctx.get(dut.o.valid)) == model.valid(known)
        assert bool(ctx.get(dut.o_request.valid)) == model.requesting
        model.tick(source.taken, multiplier.request.ready,
                   bool(ctx.get(dut.i_response.valid)), sink.taken)

    lockstep(dut, [Parent(), source, sink, multiplier], lambda: len(sink.payloads) == len(work),
             check)
    sink.payloads = [{"m": scale.m, "e": scale.e} for scale in sink.payloads]
    assert sink.payloads == [small(gate_scale(*scales, shift)) for scales, shift in work]
    return sink.cycles


@pytest.mark.parametrize("stall", [0.0, 0.4], ids=["full_rate", "stalled"])
def test_scales_and_every_handshake_match_golden_model(stall):
    run(list(cases()), stall)


def test_four_multiplications_a_scale():
    assert OPERATIONS == 4
    assert run(list(cases())[:2]) == [97, 2 * 97 + 1]


def test_a_shift_that_does_not_saturate_is_noticed(monkeypatch):
    monkeypatch.setattr(unit, "_LARGEST_EXPONENT", 255)
    with pytest.raises(AssertionError):
        run(list(cases()))
