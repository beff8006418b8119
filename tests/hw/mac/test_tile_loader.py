# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest

from golden_model.config import ArrayConfig
from golden_model.mac.tile_loader import Command, LoaderCycles
from hw.mac import tile_loader as hardware
from hw.mac.tile_loader import TileLoader
from sim.simulator import run_cycles
from tests.mutants import mutant

CONFIG = ArrayConfig(rows=2, lanes=3, max_k=12, max_m=10)
COMMANDS = [Command(2, 4, 2), Command(5, 4, 2, True), Command(1, 1, 1), Command(1, 1, 1),
            Command(3, 1, 1, True), Command(3, 1, 1, True), Command(1, 3, 1), Command(7, 0, 3),
            Command(0, 7, 0)]


def check_loader(commands, config=CONFIG, stall=0.0, component=TileLoader):
    """Addresses, words, runs, order, and every cycle of the four handshakes."""
    rng = np.random.default_rng(6)
    model = LoaderCycles(config)
    clamped = [command.clamped(config) for command in commands]
    loads = [command for command in clamped if not command.reuse]
    x = rng.integers(-8, 8, (sum(c.words for c in loads), config.lanes)).tolist()
    waiting = list(commands)

    def check(seen):
        (cmd_valid, cmd_ready), (x_valid, x_ready) = seen["i_cmd"], seen["i_x"]
        (run_valid, run_ready), (word_valid, word_ready) = seen["o_run"], seen["o_x"]
        assert run_valid == (model.run is not None)
        # The storage may stall as well; to the model that is activations which come late.
        assert x_ready == (model.x_ready and word_ready)
        assert word_valid == (x_valid and model.x_ready)
        loads = bool(x_valid and word_ready)
        assert cmd_ready == model.cmd_ready(loads)
        taken = cmd_valid and cmd_ready
        model.tick(waiting.pop(0) if taken else None, loads, bool(run_valid and run_ready))

    taken = run_cycles(component(config), {"i_cmd": [c.fields(config) for c in commands], "i_x": x},
                       {"o_x": len(x), "o_run": len(commands)}, stall=stall, rng=rng, check=check)
    bank, runs, words = 0, [], []
    for command in clamped:
        bank ^= not command.reuse
        runs.append((command.blocks - 1, command.tiles - 1, command.digits - 1, bank,
                     command.tokens - 1))
        if not command.reuse:
            words += [(bank, tile, digit, token) for token in range(command.tokens)
                      for tile in range(command.tiles) for digit in range(command.digits)]

    def token(payload):
        return payload.token if config.batch > 1 else 0

    assert [(p.block, p.tile, p.digit, p.bank, token(p)) for _, p in taken["o_run"]] == runs
    places = [(p.address.bank, p.address.tile, p.address.digit, token(p.address))
              for _, p in taken["o_x"]]
    assert places == words
    assert [[p.x[n] for n in range(config.lanes)] for _, p in taken["o_x"]] == x


@pytest.mark.parametrize("stall", [0.0, 0.2, 0.7])
def test_matches_golden_model_in_value_and_cycle(stall):
    check_loader(COMMANDS * 3, stall=stall)


@pytest.mark.parametrize("batch", [2, 3, 4])
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_several_tokens(batch, stall):
    commands = [command._replace(tokens=n % 4) for n, command in enumerate(COMMANDS * 2)]
    check_loader(commands, dataclasses.replace(CONFIG, batch=batch), stall)


def test_smallest_configuration():
    check_loader([Command(1, 1), Command(1, 1, 1, True)] * 4,
                 ArrayConfig(rows=1, lanes=1, max_k=1, max_m=1, digit_bits=4), stall=0.3)


def test_a_first_command_may_say_reuse():
    check_loader([Command(2, 1, 1, True), Command(2, 1, 1)])


@pytest.mark.parametrize(("command", "clamped"), [
    (Command(0, 0, 0), Command(1, 1, 1)), (Command(7, 7, 3), Command(5, 4, 2)),
    (Command(5, 4, 2, True), Command(5, 4, 2, True))])
def test_counts_out_of_range_are_clamped(command, clamped):
    assert command.clamped(CONFIG) == clamped


def never_clamped(value, most):
    return value - 1


def last_word_forgotten(value, most):
    return CLAMPED(value, most) >> 1


CLAMPED = hardware.clamped


@pytest.mark.parametrize("broken", [never_clamped, last_word_forgotten])
def test_planted_bug_is_found(monkeypatch, broken):
    monkeypatch.setattr(hardware, "clamped", broken)
    with pytest.raises((AssertionError, TimeoutError)):
        check_loader(COMMANDS)


@pytest.mark.parametrize(("old", "new"), [
    ("address.token.eq(token)", "address.token.eq(0)"),
    ("last, last & (token == run.token)", "last, last"),
    ("[tile.eq(0), token.eq(token + 1)]", "[token.eq(token + 1)]")])
def test_planted_bug_among_tokens_is_found(old, new):
    commands = [Command(1, 3, 2, False, 3), Command(2, 2, 1, False, 2)]
    with pytest.raises((AssertionError, TimeoutError)):
        check_loader(commands, dataclasses.replace(CONFIG, batch=3),
                     component=mutant(TileLoader, old, new))
