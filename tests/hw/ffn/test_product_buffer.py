# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.ffn.product_buffer import BufferCycles, beats
from golden_model.ffn_config import ProductBufferConfig
from hw.ffn import product_buffer as unit
from hw.ffn.product_buffer import ProductBuffer
from tests.hw.ffn.lockstep import Sink, Source, lockstep
from tests.mutants import mutant

CONFIGS = [ProductBufferConfig(lanes=1, max_n=5), ProductBufferConfig(lanes=4, max_n=22),
           ProductBufferConfig(lanes=16, max_n=16)]


def cases(config, seed=1):
    """Vectors as lengths, indices and words: none, all, the ends, few; one, two and odd lengths."""
    rng = np.random.default_rng(seed)
    for n in (config.max_n, 1, 2, config.max_n - 1):
        index = np.arange(n)
        for mask in (index < 0, index >= 0, index == n - 1, index == 0, rng.random(n) < 0.3):
            kept = np.flatnonzero(mask)
            yield n, kept, rng.integers(-1 << 23, 1 << 23, kept.size)


def run(config, work, stall=0.0, build=ProductBuffer):
    """Check words and every handshake; return the cycles of ``i`` and ``o``."""
    dut, model = build(config), BufferCycles(config)
    command = Source(dut.i_command, [{"n": n} for n, *_ in work], stall, 1)
    items = Source(dut.i, [item for _, index, words in work for item in (
        *({"index": i, "word": w, "end": 0} for i, w in zip(index.tolist(), words.tolist())),
        {"index": 0, "word": 77, "end": 1})], stall, 2)
    sink = Sink(dut.o, stall, 3)
    wanted = [(beat, n == len(rows) - 1) for case in work for _ in range(2)
              for rows in [beats(config, *case).tolist()] for n, beat in enumerate(rows)]

    def check(ctx, cycle):
        n = ctx.get(dut.i_command.p.n) if ctx.get(dut.i_command.valid) else None
        offered = ctx.get(dut.i.payload)
        item = None if offered.end else offered.index
        valid = bool(ctx.get(dut.i.valid))
        assert bool(ctx.get(dut.o.valid)) == model.valid
        if n is not None:
            assert bool(ctx.get(dut.i_command.ready)) == model.done(n, sink.ready)
            if model.valid:
                assert bool(ctx.get(dut.o.p.last)) == model.last(n)
            if valid:
                assert bool(ctx.get(dut.i.ready)) == model.i_ready(n, item)
        model.tick(n, valid, item, sink.ready)

    lockstep(dut, [command, items, sink], lambda: len(sink.payloads) == len(wanted), check)
    assert [(list(beat.words), beat.last) for beat in sink.payloads] == wanted
    return items.cycles, sink.cycles


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.4], ids=["full_rate", "stalled"])
def test_words_and_every_handshake_match_golden_model(config, stall):
    run(config, list(cases(config)), stall)


def test_a_word_a_cycle_and_a_cycle_for_each_empty_beat():
    config = CONFIGS[1]
    words = np.arange(1, 9)
    assert config.latency == 2
    # The command is taken note of in cycle 0.  Beats 0 and 1 are full, 2 is empty, 3 has its last
    # lane, 4 and 5 are empty.
    sent, got = run(config, [(22, np.array([0, 1, 2, 3, 4, 5, 7, 15]), words)])
    assert sent == [1, 2, 3, 4, 5, 6, 7, 9, 12]
    assert got == [7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]


def test_a_beat_that_keeps_the_words_of_the_one_before_is_noticed(monkeypatch):
    real = unit.Signal.like

    class Sticky:
        """Signals of which the one that collects words is never cleared."""

        def __new__(cls, *args, **kwargs):
            return unit_signal(*args, **kwargs)

        @staticmethod
        def like(other, **kwargs):
            made = real(other, **kwargs)
            if len(made.as_value() if hasattr(made, "as_value") else made) == 4 * 24:
                made.eq = lambda value: []
            return made

    unit_signal = unit.Signal
    monkeypatch.setattr(unit, "Signal", Sticky)
    with pytest.raises(AssertionError):
        run(CONFIGS[1], list(cases(CONFIGS[1]))[1:2])


@pytest.mark.parametrize(("old", "new"), [
    ("Mux(ends, 1, following + 1)", "following + 1"), ("item_beat == following)", "C(0, 1))")])
def test_a_beat_that_is_not_the_next_is_noticed(old, new):
    with pytest.raises((AssertionError, TimeoutError)):
        run(CONFIGS[1], list(cases(CONFIGS[1])), build=mutant(ProductBuffer, old, new))


@pytest.mark.parametrize(("field", "value"), [("lanes", 3), ("max_n", 0), ("max_n", 1 << 21)])
def test_config_refuses(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be .* not {value}$"):
        ProductBufferConfig(**{field: value})
