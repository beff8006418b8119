# SPDX-License-Identifier: Apache-2.0
"""Columns on their way from the image, pinned to what the RTL of `tiny` was seen to take."""

from golden_model.cycles.port import image_latency
from golden_model.cycles.projections import finish
from golden_model.presets import preset
from golden_model.sparse.masked_linear_cycles import RequestWay

CONFIG = preset("tiny").decoder
FEW = ("021001012110101020111201100210101200001000100100"
       "101000000010010000021120000100010201110101002100")
MANY = ("001212021131031102011032203311021110112023221112"
        "223122111213212201101111202210101102120101213122")
"""Codes other than zero in each beat of a product; a column of Wdown is two beats."""


def test_columns_of_two_beats_wait_for_each_other():
    """What waits ahead of the memory stops the codes, which are then late for the last columns.

    With few columns that is what the addition waits for, with many it is their beats.
    """
    for counts, command, words, found in ((FEW, 4395, 4836, 5033), (MANY, 5136, 5533, 5866)):
        assert len(counts) == 96
        assert finish(CONFIG, [int(count) for count in counts], 128, command, [words],
                      None) == found


def test_bursts_are_read_one_after_the_other():
    way, taken, beats = RequestWay(image_latency(CONFIG)), [], []
    for _ in range(8):   # each as early as can be
        now = way.free(taken[-1] + 1 if taken else 0)
        taken.append(now)
        beats.append(way.take(now, 2))
    assert beats == [2 + image_latency(CONFIG) + 2 * number for number in range(8)]
    # Two in the stages, one behind them, one at the memory, one in work; then as they begin.
    assert taken == [0, 1, 2, 3, 4, 6, 8, 10]
    way = RequestWay(3)
    assert [way.take(way.free(now), 1) for now in range(4)] == [5, 6, 7, 8]
