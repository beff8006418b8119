# SPDX-License-Identifier: Apache-2.0
"""Prompts that the Verilated hardware reads in chunks: cycles and weights fetched of each token.

``python -m host.prefill_runs`` takes half an hour, most of it to compile a simulation for each
port; ``host.prefill_table`` puts what it prints on record.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from golden_model.config import MAX_BATCH
from golden_model.weights import DecoderWeights
from host.backends.sampling import GREEDY
from host.backends.sim import SimBackend
from host.configure import resolve
from host.generate import golden_tokens
from host.model_file import load_model
from host.token_cycles import TokenCycles

__all__ = ["CHUNKS", "PORTS", "decoder", "read_prompt", "runs"]

DEMO = Path(__file__).parents[1] / "models" / "demo"
PRESET = "tiny"
CHUNKS = (1, 2, 4)
"""Tokens that a prompt is read in at a time."""
PORTS: Mapping[str, tuple[str, ...]] = {
    "1": (),
    "1/2": ("system.memory=axi", "system.data_bits=64", "system.outstanding=16"),
}
"""Overrides for each rate at which a port delivers beats, in beats a cycle."""
PROMPT = 32
WRITTEN = 4
"""Tokens that are generated behind the prompt, to be compared."""


def read_prompt(backend: SimBackend, weights: DecoderWeights, tokens: Sequence[int], size: int,
                written: int = WRITTEN) -> dict[str, Any]:
    """Read all tokens but the last in chunks, each a start, then generate behind that."""
    config, prompt = backend.config, list(tokens[:-1])
    backend.load(weights, config.window)
    system = backend.system
    backend.driver.registers.write("control", clear_counters=1)
    system.tokens()
    for first in range(0, len(prompt), size):
        if list(backend.stream(prompt[first:first + size], 0)):
            raise ValueError("a start that asks for no token gives some")
    reads = np.unique(system.tokens(), axis=0)
    took = (reads[:, 1] - reads[:, 0] + 1).tolist()
    beats = backend.counters()["weight_beats"]
    found = list(backend.stream(tokens[-1:], written))
    predicted = None
    if config.system is not None and config.system.memory == "block":
        cycles = TokenCycles(config, weights)
        facts = cycles.facts(prompt, len(prompt) + 1)
        predicted = [cycles.model.chunk(facts[first:first + size], skip_head=True)
                     for first in range(0, len(prompt), size)]
    return {
        "tokens": size, "prompt_tokens": len(prompt),
        "cycles_per_prompt_token": round(sum(took) / len(prompt), 1),
        "weight_beats_per_prompt_token": round(beats / len(prompt), 1),
        "golden_equal": golden_tokens(weights, config.window, tokens, found, GREEDY) == found,
        "cycles_equal": None if predicted is None else predicted == took,
    }


def runs(report: Callable[[str], None] = lambda _: None) -> Iterator[dict[str, Any]]:
    """One row for each port and size of a chunk."""
    weights = load_model(DEMO / "model.safetensors")
    text = load_file(DEMO / "heldout.safetensors")["tokens"][0, :PROMPT + 1].astype(int).tolist()
    for rate, overrides in PORTS.items():
        backend = SimBackend(resolve(PRESET, None, [*overrides, f"array.batch={MAX_BATCH}"]),
                             report=report)
        try:
            for size in CHUNKS:
                report(f"{rate} beats a cycle, {size} at a time")
                yield {"beats_a_cycle": rate, **read_prompt(backend, weights, text, size)}
        finally:
            backend.close()


def decoder() -> dict[str, Any]:
    """Everything that the result says of the decoder."""
    rows = runs(lambda text: print(text, file=sys.stderr))
    return {"preset": PRESET, "batch": MAX_BATCH, "model": "demo", "runs": [*rows]}


def main() -> int:
    """Print the figures; 1 if anything is not the golden model's."""
    found = decoder()
    print(json.dumps(found, indent=2))
    return 0 if all(row["golden_equal"] and row["cycles_equal"] is not False
                    for row in found["runs"]) else 1


if __name__ == "__main__":
    sys.exit(main())
