# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.config import ArrayConfig
from golden_model.mac.array_table import LAYERS, layer_table, sized_for
from golden_model.mac.ternary_array import ArrayCycles, array_cycles, command_for

ULX3S = ArrayConfig(rows=8, lanes=64)


@pytest.mark.parametrize("config", [ULX3S, ArrayConfig(rows=64, lanes=64),
                                    ArrayConfig(rows=2, lanes=40, levels_per_stage=1)], ids=str)
def test_every_real_layer_keeps_the_array_busy(config):
    rows = layer_table(config)
    assert len(rows) == sum(map(len, LAYERS.values()))
    assert all(row.busy >= 0.98 for row in rows)
    assert all(row.mac_efficiency >= 0.98 for row in rows if row.m % config.rows == 0
               and row.k % config.lanes == 0)


def test_rows_are_pinned():
    rows = {(row.model, row.layer): row for row in layer_table(ULX3S)}
    assert rows["demo", "down"].cycles == 16 * 6 * 2
    assert rows["7B", "gate"].cycles == 1376 * 64
    # 5,460 columns are 85.3 tiles: the only shape whose padding shows.
    assert rows["1.3B", "down"].mac_efficiency == pytest.approx(5460 / (86 * 64))
    assert min(row.mac_efficiency for row in rows.values()) == rows["1.3B", "gate"].mac_efficiency \
        or min(row.mac_efficiency for row in rows.values()) == rows["1.3B", "down"].mac_efficiency


@pytest.mark.parametrize("layer", [*LAYERS["demo"], LAYERS["700M"][0]], ids=str)
def test_closed_form_is_what_the_cycle_model_counts(layer):
    """Three commands in a row, stepped cycle by cycle with everything offered at once."""
    config = sized_for(ULX3S, (layer,))
    command = command_for(config, layer.m, layer.k, layer.digits)
    model, left, fires, results = ArrayCycles(config), 3, [], 0
    for cycle in range(1 << 20):
        answers = model.step(command if left else None, True, True, True)
        left -= bool(left and answers.cmd_ready)
        if answers.fire:
            fires.append(cycle)
        results += answers.o_valid
        if results == 3 * command.blocks:
            break
    assert cycle + 1 == array_cycles(config, layer.m, layer.k, layer.digits, commands=3)
    assert np.ptp(fires) + 1 == len(fires)
