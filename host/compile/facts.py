# SPDX-License-Identifier: Apache-2.0
"""What the hardware needs to know of a model besides its program: fields of the image's header."""

from golden_model.kv_config import KvCacheConfig
from golden_model.weights import DecoderWeights
from host.errors import UserError

__all__ = ["model_facts"]


def model_facts(weights: DecoderWeights, cache: KvCacheConfig, *,
                head_instructions: int) -> dict[str, int]:
    """Fields of :data:`golden_model.instruction_config.HEADER` that describe the model.

    Parameters
    ----------
    cache
        Of the accelerator.
    head_instructions
        Last instructions of the program, which a token without a successor leaves out.

    Raises
    ------
    UserError
        Not even one sequence of the model fits the cache.
    """
    shape = weights.shape
    streams, words = shape.layers * shape.kv_heads, -(-shape.head_dim // cache.lanes)
    window = max(2, min(cache.window, shape.context))
    slots = min(cache.slots, cache.rows // (streams * (window - 1)), cache.sinks // streams)
    if slots < 1 or words > cache.row_words:
        raise UserError(f"the KV cache of {cache.rows} rows of {cache.row_words} words, "
                        f"{cache.sinks} of them first tokens', does not hold the model's "
                        f"{streams} streams of {window} rows of {words} words")
    beats = words * cache.row_beats + 1
    return {"vocab": shape.vocab, "context": shape.context, "slots": slots, "streams": streams,
            "words": words, "window": window, "state_words": 2 * streams * beats,
            "head_instructions": head_instructions}
