# SPDX-License-Identifier: Apache-2.0
import random

import pytest

from golden_model.bus.axi_read import Burst, bursts
from golden_model.bus.axi_read_cycles import axi_read_cycles
from golden_model.bus_config import AxiReadConfig

CONFIGS = [AxiReadConfig(data_bits=64, address_bits=16, max_burst=256, buffer_beats=256),
           AxiReadConfig(data_bits=64, max_burst=1), AxiReadConfig(data_bits=128),
           AxiReadConfig(data_bits=512, address_bits=40, max_burst=64)]


def commands(config):
    """Give commands that start near the ends of pages, and anywhere."""
    rng = random.Random(12)
    for _ in range(200):
        page = rng.randrange(1, 1 << config.address_bits - 13) * 4096
        yield (rng.choice((page, page - config.beat_bytes, page + rng.randrange(4096))),
               rng.choice((1, 2, rng.randint(1, 3000))))


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_no_burst_crosses_a_page(config):
    for address, beats in commands(config):
        parts = bursts(config, address, beats)
        assert sum(part.length for part in parts) == beats
        for part in parts:
            assert part.length <= config.max_burst
            assert part.address // 4096 \
                == (part.address + part.length * config.beat_bytes - 1) // 4096


def test_a_command_by_hand():
    config = AxiReadConfig(data_bits=128, max_burst=16)
    assert bursts(config, 0x1FD7, 20) == [
        Burst(0x1FD0, 3, False), Burst(0x2000, 16, False), Burst(0x2100, 1, True)]


def test_the_bus_stays_busy_with_enough_bursts_under_way():
    config = AxiReadConfig()
    assert config.beats_in_flight == 128
    cycles = axi_read_cycles(config, [(0, 5000)], latency=100)
    assert cycles.received == list(range(103, 5103))
    slow = axi_read_cycles(config, [(0, 5000)], latency=400)
    assert slow.received[-1] == 16_673  # 128 beats in 417 cycles


@pytest.mark.parametrize(("field", "value"), [
    ("data_bits", 32), ("address_bits", 12), ("max_burst", 3), ("max_burst", 512),
    ("outstanding", 0), ("buffer_beats", 8), ("max_beats", 0), ("id_bits", 0)])
def test_config_refuses(field, value):
    with pytest.raises(ValueError, match=f"^{field} must"):
        AxiReadConfig(**{field: value})


def test_config_refuses_bursts_longer_than_a_page():
    with pytest.raises(ValueError, match=r"^max_burst must be at most 64 at 512 bits, not 128$"):
        AxiReadConfig(data_bits=512, max_burst=128)
