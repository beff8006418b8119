# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.ffn.code_packer import PackerCycles, words
from golden_model.ffn_config import CodePackerConfig
from hw.ffn import code_packer as unit
from hw.ffn.code_packer import CodePacker
from tests.hw.ffn.lockstep import Sink, Source, lockstep

CONFIGS = [CodePackerConfig(lanes=1, width=1, bits=8), CodePackerConfig(lanes=4, width=12),
           CodePackerConfig(lanes=2, width=2, bits=5), CodePackerConfig(lanes=2, width=8)]


def vectors(config, seed=1):
    rng = np.random.default_rng(seed)
    low = -1 << config.bits - 1
    for n in (1, 2, config.width, config.width + 1, 3 * config.width - 1):
        yield rng.integers(low, -low, n).astype(np.int8)


def run(config, work, stall=0.0):
    """Check words and every handshake; return the cycles of ``i`` and ``o``."""
    dut, model = CodePacker(config), PackerCycles(config)
    beats = []
    for codes in work:
        rows = np.pad(codes, (0, -codes.size % config.lanes)).reshape(-1, config.lanes)
        beats += [{"codes": row, "last": n == len(rows) - 1} for n, row in enumerate(rows.tolist())]
    source, sink = Source(dut.i, beats, stall, 1), Sink(dut.o, stall, 2)
    wanted = [row for codes in work for row in words(config, codes).tolist()]

    def check(ctx, cycle):
        assert bool(ctx.get(dut.o.valid)) == model.valid
        assert bool(ctx.get(dut.i.ready)) == model.ready(sink.ready)
        model.tick(bool(ctx.get(dut.i.valid)), bool(ctx.get(dut.i.p.last)), sink.ready)

    lockstep(dut, [source, sink], lambda: len(sink.payloads) == len(wanted), check)
    assert [list(word) for word in sink.payloads] == wanted
    return source.cycles, sink.cycles


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.4], ids=["full_rate", "stalled"])
def test_words_and_every_handshake_match_golden_model(config, stall):
    run(config, list(vectors(config)) * 2, stall)


def test_a_beat_a_cycle():
    sent, got = run(CONFIGS[1], [np.arange(-8, 8, dtype=np.int8)])
    assert (CONFIGS[1].beats, CONFIGS[1].latency) == (3, 1)
    assert (sent, got) == ([0, 1, 2, 3], [3, 4])


def test_what_lies_behind_the_end_must_be_cleared(monkeypatch):
    monkeypatch.setattr(unit, "Mux", lambda _here, code, _zero: code)
    with pytest.raises(AssertionError):
        run(CONFIGS[1], list(vectors(CONFIGS[1])))


@pytest.mark.parametrize(("field", "value"), [("lanes", 0), ("width", 62), ("bits", 9)])
def test_config_refuses(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be .* not {value}$"):
        CodePackerConfig(**{field: value})
