# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.config import ArrayConfig, ModelShape, Numerics
from golden_model.ffn.captured import captured_blocks
from golden_model.ffn.gated_ffn import gated_ffn
from golden_model.ffn_config import GatedFfnConfig
from golden_model.sparse.masked_linear import masked_codes
from golden_model.weights import random_weights


@pytest.mark.parametrize("fmt", ["int4", "fp4"])
def test_the_block_gives_what_the_decoder_computes(fmt):
    shape = ModelShape(vocab=7, hidden=24, ffn=37, layers=2, heads=2, kv_heads=1, head_dim=4,
                       context=8)
    config = GatedFfnConfig(array=ArrayConfig(rows=2, lanes=8, max_k=24, max_m=40), lanes=2,
                            max_ffn=37, up_width=8, down_width=4, up_bits=5)
    weights = random_weights(shape, Numerics(act_format=fmt), seed=1)
    blocks = captured_blocks(weights, [0, 3, 1, 4, 6], 3)
    assert [(block.token, block.layer) for block in blocks] == [
        (2, 0), (2, 1), (3, 0), (3, 1), (4, 0), (4, 1)]
    for block in blocks:
        result = gated_ffn(config, block.ffn)
        codes, scale = masked_codes(result.product)
        assert codes.tolist() == block.down.codes.tolist()
        assert scale == block.down.in_scale
        assert result.sums.ravel()[:24].tolist() == block.down.sums.tolist()
        assert result.scale == block.down.out_scale
        assert result.rows.tolist() == np.flatnonzero(block.ffn.gate > 0).tolist()
        assert np.count_nonzero(block.wo) <= 4
