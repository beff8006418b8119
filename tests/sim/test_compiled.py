# SPDX-License-Identifier: Apache-2.0
import random

import pytest

from golden_model.image.block_memory import Burst, read
from golden_model.image_config import BlockMemoryConfig, ImagePortConfig
from hw.image.block_memory import BlockMemory
from sim.compiled import CompiledModel
from sim.runner import SimulationFailed

pytestmark = pytest.mark.cocotb
CONFIG = BlockMemoryConfig(port=ImagePortConfig(beat_bits=100, address_bits=8, count_bits=8),
                           depth=50)


@pytest.fixture
def model():
    with CompiledModel(BlockMemory(CONFIG)) as opened:
        yield opened


def load(model):
    words = [random.Random(n).getrandbits(100) for n in range(CONFIG.depth)]
    model.set("i_write__valid", 1)
    for address, word in enumerate(words):
        model.set("i_write__payload", word << 6 | address)
        model.tick()
    model.set("i_write__valid", 0)
    return words


def test_values_of_any_width_and_cycles_are_those_of_the_component(model):
    words = load(model)
    burst = Burst(7, 30)
    model.set("i_request__payload", burst.beats << 8 | burst.address)
    model.set("i_request__valid", 1)
    model.set("o__ready", 1)
    model.tick()
    model.set("i_request__valid", 0)
    assert model.run_until("o__valid", 1, 10) == CONFIG.latency - 1
    got = []
    while model.get("o__valid"):
        got.append(model.get("o__payload"))
        model.tick()
    assert got == read(words, [burst])


def test_a_wait_has_an_end(model):
    with pytest.raises(SimulationFailed, match="o__valid is not 1 after 20 cycles"):
        model.run_until("o__valid", 1, 20)


def test_instances_are_apart(model):
    load(model)
    with CompiledModel(BlockMemory(CONFIG)) as other:
        for each in (model, other):
            each.set("i_request__payload", 1 << 8 | 3)
            each.set("i_request__valid", 1)
            each.tick(2)
        assert other.get("o__payload") == 0
        assert model.get("o__payload") == random.Random(3).getrandbits(100)


@pytest.mark.parametrize(("name", "value"), [("i_write__valid", 2), ("i_request__payload", -1),
                                             ("o__valid", 0)])
def test_what_a_port_does_not_take_is_refused(model, name, value):
    with pytest.raises(ValueError, match=name):
        model.set(name, value)
