# SPDX-License-Identifier: Apache-2.0
"""Vectors for the gated feed-forward block, as its ports take them."""

import numpy as np

from golden_model.ffn.ffn_cycles import FfnCycles
from golden_model.ffn.gated_ffn import gated_ffn
from golden_model.mac.ternary_array import command_for, pack_weights
from golden_model.quant.norm_quantiser import levels
from golden_model.quant_config import SmallFloatUnitConfig
from golden_model.sparse.masked_linear import masked_codes
from golden_model.sparse.row_gather import beats as row_beats
from golden_model.sparse.sparse_product import blocks, column_beats
from sim.packing import from_bytes, pack_trits, small

__all__ = ["FfnJob", "ffn_cycles"]

_FIELDS = {"i": "activations", "i_gate_weights": "gate_weights", "o_up_request": "up_requests",
           "i_up_weights": "up_weights", "i_gain": "words", "o_down_request": "down_requests",
           "i_down_weights": "down_weights", "o": "sums"}


class FfnJob:
    """One vector with its layer: what goes in on each port, and what must come out."""

    def __init__(self, config, vector):
        self.vector = vector
        weights, codes = vector.weights, vector.codes
        n, k = weights.gate.shape
        self.result = result = gated_ffn(config, vector)
        command = command_for(config.array, n, k)
        norm = weights.norm
        self.command = {
            "gate": {"blocks": command.blocks, "tiles": command.tiles},
            "up": {"n": n, "blocks": -(-k // config.up_width),
                   "peak_bits": (vector.peak * k).bit_length(),
                   "constants": {"gate": small(weights.scales[0]), "up": small(weights.scales[1])}},
            "down": {"blocks": blocks(config.down.product, len(weights.down)),
                     "levels": small(levels("int8", n)), "norm_scale": small(norm.scale),
                     "eps": small(norm.eps), "alpha": small(weights.scales[2])}}
        rows = np.pad(codes, (0, -k % config.lanes)).reshape(-1, config.lanes)
        self.activations = [{"codes": row, "last": number == len(rows) - 1}
                            for number, row in enumerate(rows.tolist())]
        self.gate_weights = from_bytes(pack_weights(config.array, weights.gate))
        packing = config.array.packing
        self.up_bursts = [[pack_trits(packing, beat)
                           for beat in row_beats(config.gate_up.gather, weights.up[row])]
                          for row in result.rows]
        # What lies past the end does not matter.
        self.gains = np.pad(norm.gain, (0, -n % config.lanes), constant_values=-99).reshape(
            -1, config.lanes).tolist() * 2
        kept, _ = masked_codes(result.product)
        self.columns = np.flatnonzero(kept).tolist()
        self.down_bursts = [[pack_trits(packing, beat)
                             for beat in column_beats(config.down.product, weights.down[:, column])]
                            for column in self.columns]
        self.sums = [(row, number == len(result.sums) - 1)
                     for number, row in enumerate(result.sums.tolist())]


def ffn_cycles(config, jobs, latency):
    """Cycle of every transfer by stream, for each of consecutive jobs that nothing holds up.

    Left out is ``i_scale``, which only has to be in time.
    """
    model = FfnCycles(config, SmallFloatUnitConfig(), latency)
    found = []
    for number, job in enumerate(jobs):
        part = model.run(job.vector, job.result, more=number < len(jobs) - 1)
        found.append({name: getattr(part, field) for name, field in _FIELDS.items()}
                     | {"i_command": [part.command], "o_scale": [part.scale]})
    return found
