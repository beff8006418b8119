# SPDX-License-Identifier: Apache-2.0
"""Sites of deep memories: which blocks are a column, and where they go."""

from host.synth.floorplan import SITES, Sites, columns, constrain
from host.synth.route import DEVICES


def memory(name, banks, blocks, first):
    """Block RAMs of a memory, bank by bank as yosys numbers them, nine nets of data each."""
    return {f"{name}.0.{bank * blocks + block}": {
        "type": "DP16KD", "attributes": {"src": "x"},
        "connections": {"DIA0": [first + 2 * block], "DIA1": [first + 2 * block + 1],
                        "DIB0": ["x"], "ADA5": [7], "DOB0": [9_000 + 100 * bank + block]}}
            for bank in range(banks) for block in range(blocks)}


CELLS = {**memory("deep_10", 3, 2, 100), **memory("flat", 1, 4, 200), **memory("twin", 1, 4, 200),
         **memory("deep_2", 3, 1, 300), "lut": {"type": "LUT4", "connections": {"A": [1]}}}


def test_a_column_is_what_one_memory_stores_of_the_same_bits():
    assert columns(CELLS) == [
        ["deep_2.0.0", "deep_2.0.1", "deep_2.0.2"],
        ["deep_10.0.0", "deep_10.0.2", "deep_10.0.4"],
        ["deep_10.0.1", "deep_10.0.3", "deep_10.0.5"]]


def test_columns_get_neighbouring_sites_of_one_row_and_others_none():
    cells = {name: {**cell, "attributes": {"src": "x"}} for name, cell in CELLS.items()}
    assert constrain(cells, Sites(rows=(5, 8), tiles=(10,))) == 2
    given = {name: cell["attributes"]["BEL"] for name, cell in cells.items()
             if "BEL" in cell["attributes"]}
    assert given == {
        "deep_2.0.0": "X10/Y5/EBR0", "deep_2.0.1": "X12/Y5/EBR1", "deep_2.0.2": "X14/Y5/EBR2",
        # What does not fit the rest of a row begins another; what fits none is the placer's.
        "deep_10.0.0": "X10/Y8/EBR0", "deep_10.0.2": "X12/Y8/EBR1", "deep_10.0.4": "X14/Y8/EBR2"}
    assert cells["deep_10.0.0"]["attributes"]["src"] == "x"


def test_every_device_has_as_many_sites_as_block_rams():
    assert set(SITES) == set(DEVICES)
    sites = [site for y in SITES["ecp5-85f"].rows for site in SITES["ecp5-85f"].row(y)]
    assert len(set(sites)) == len(sites) == 208
