# SPDX-License-Identifier: Apache-2.0
"""Time of a whole token at BitNet 2B4T's shapes, with random weights, on this machine's GPU.

``python -m host.gpu.token.measure [--output docs/results/gpu/token.json]``
"""

import argparse
import datetime
import importlib.metadata
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.arrays import Codes
from golden_model.config import ModelShape, Numerics
from golden_model.exact import ExactDecoder
from golden_model.weights import DecoderWeights, random_weights
from host.gpu.runtime import Device, device
from host.gpu.timing import clock_mhz, time_launches
from host.gpu.token.decoder import TokenDecoder
from host.gpu.token.launches import Launches
from host.gpu.token.products import CHUNK_ROWS, TensorProducts

__all__ = ["SHAPE", "main", "measure", "repeated_weights", "spot_check"]

SHAPE = ModelShape(vocab=128_256, hidden=2560, ffn=6912, layers=30, heads=20, kv_heads=5,
                   head_dim=128, context=4096, rope_theta=500_000.0)
CONTEXT = 512
TARGET_US = 900.0
REPLAYS = 50
OUTPUT = Path("docs/results/gpu/token.json")


def repeated_weights(shape: ModelShape, seed: int) -> DecoderWeights:
    """One random layer repeated, and a vocabulary whose rows repeat after `CHUNK_ROWS`."""
    rows = min(shape.vocab, CHUNK_ROWS)
    one = random_weights(replace(shape, layers=1, vocab=rows), Numerics(), seed)
    return DecoderWeights(
        shape=shape, numerics=one.numerics, residual_frac=one.residual_frac,
        embedding=np.resize(one.embedding, (shape.vocab, shape.hidden)),
        embedding_scale=one.embedding_scale, final_gain=one.final_gain,
        layers=one.layers * shape.layers)


class _RepeatedHead(TensorProducts):
    """Packs the rows of the vocabulary that differ, for the time that it takes."""

    def pack_levels(self, levels: Codes) -> NDArray[Any]:
        words = super().pack_levels(levels[:CHUNK_ROWS])
        return np.resize(words, (levels.shape[0], *words.shape[1:]))


def spot_check(gpu: Device) -> dict[str, Any]:
    """Compare logits of a model of two layers of these shapes with the exact model's, ``==``."""
    shape = replace(SHAPE, vocab=1000, layers=2, context=640)
    weights, window = random_weights(shape, Numerics(), 5), CONTEXT
    tokens = np.random.default_rng(6).integers(0, shape.vocab, 600)
    golden = ExactDecoder(weights, window=window)
    wanted = golden.forward(tokens)
    decoder, compared = TokenDecoder(gpu, weights, window), 0
    ends = [1, 2, 33, 34, 300, *range(509, 518), 600]
    for start, end in zip([0, *ends], ends):
        chosen = decoder.read([int(token) for token in tokens[start:end]])
        logits, scale = decoder.logits()
        if not (np.array_equal(logits, wanted[end - 1]) and chosen == wanted[end - 1].argmax()
                and scale == golden.logit_scale[end - 1]):
            raise SystemExit(f"token {end - 1}: the logits are not the exact model's")
        compared += logits.size
    return {"layers": shape.layers, "vocab": shape.vocab, "window": window,
            "positions": ends, "logits_compared": compared, "wrong": 0}


def measure(gpu: Device) -> dict[str, Any]:
    """Time a token at context 512."""
    decoder = TokenDecoder(gpu, repeated_weights(SHAPE, 1), SHAPE.context, _RepeatedHead(gpu))
    tokens = np.random.default_rng(2).integers(0, SHAPE.vocab, CONTEXT)
    decoder.read([int(token) for token in tokens])
    launches = decoder.launches
    times = []
    for _ in range(REPLAYS):
        launches.position.put(np.full(1, CONTEXT, np.int32))
        start, end = gpu.event(), gpu.event()
        start.record()
        decoder.graph.replay()
        end.record()
        times.append(end.since(start))
    clock = clock_mhz(gpu)
    microseconds = statistics.median(times)
    return {"us": round(microseconds, 1), "least_us": round(min(times), 1),
            "greatest_us": round(max(times), 1), "cycles": round(microseconds * clock),
            "clock_mhz": round(clock), "nodes": decoder.graph.nodes, "replays": REPLAYS,
            "target_us": TARGET_US, "met": microseconds <= TARGET_US,
            "stages": stages(gpu, launches)}


def stages(gpu: Device, launches: Launches) -> dict[str, float]:
    """Microseconds of each launch, among a hundred of its own kind, layer after layer."""
    launches.position.put(np.full(1, CONTEXT, np.int32))
    rows: dict[str, Callable[[int], None]] = launches.stages()
    count = launches.weights.shape.layers
    return {name: round(statistics.median(time_launches(gpu, launch, count)), 2)
            for name, launch in rows.items()}


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parsed = parser.parse_args(arguments)
    gpu = device()
    checked = spot_check(gpu)
    result = {
        "what": "one token of BitNet 2B4T's shapes, random weights, one CUDA graph",
        "shape": {name: getattr(SHAPE, name) for name in (
            "vocab", "hidden", "ffn", "layers", "heads", "kv_heads", "head_dim")},
        "context": CONTEXT, **measure(gpu), "check": checked,
        "device": gpu.info.name, "cuda_driver": gpu.info.cuda_driver,
        "versions": {name: importlib.metadata.version(name)
                     for name in ("numpy", "cuda-bindings")},
        "python": sys.version.split()[0], "command": "python -m host.gpu.token.measure",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat()}
    parsed.output.parent.mkdir(parents=True, exist_ok=True)
    parsed.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
