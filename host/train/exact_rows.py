# SPDX-License-Identifier: Apache-2.0
"""Perplexity of the exact integer model, beside the float rows of ``docs/results/model.json``."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from golden_model.arrays import Ints
from golden_model.config import Numerics
from golden_model.evaluate import perplexity
from golden_model.exact import ExactDecoder
from golden_model.weights import DecoderWeights

__all__ = ["FLOAT_ROWS", "measure_exact"]

FLOAT_ROWS = {"a48_exact": "a48", "a48_exact_kv3_q8": "a48_kv3_q8"}
"""Exact rows, and the float rows that they are compared with."""


def measure_exact(weights: DecoderWeights, windows: Ints,
                  floats: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Perplexity of the exact model with each float row's bits of cache and queries.

    Parameters
    ----------
    weights
        The packed model.
    windows
        Tokens [n, context], BOS first: those that `floats` was measured on.
    floats
        ``runs`` of ``docs/results/model.json``, with the float rows.

    Yields
    ------
    tuple of str and dict
        Row and its figures; ``against_float`` is the difference in perplexity, in percent.
    """
    for row, beside in FLOAT_ROWS.items():
        reference = floats[beside]["perplexity"]
        scheme = floats[beside]["scheme"]
        bits = {name: scheme[name] for name in ("kv_bits", "bos_bits", "q_bits")}
        numerics: Numerics = dataclasses.replace(weights.numerics, **bits)
        found = perplexity(ExactDecoder(weights, numerics), windows)
        yield row, {"perplexity": round(found, 4), "float_row": beside,
                    "against_float_percent": round(100 * (found / reference - 1), 3),
                    "tokens": windows[:, 1:].size, "numerics": dataclasses.asdict(numerics)}
