# SPDX-License-Identifier: Apache-2.0
"""Text and perplexity of the RTL against the golden model: ``python -m host.generate_report``.

Writes ``docs/results/generate.json``: 8 prompts of 32 tokens each, half of them drawn, every token
and every cycle; and the logits of 200 held-out tokens, which have to be the exact model's integers.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.exact import ExactDecoder
from golden_model.weights import DecoderWeights
from host.backends.sampling import GREEDY, Sampling
from host.backends.sim import SimBackend
from host.cli.output import record
from host.configure import resolve
from host.generate import generate, golden_tokens
from host.model_file import load_model
from host.text import Vocabulary
from host.token_cycles import predicted_cycles

__all__ = ["PROMPTS", "perplexity", "texts"]

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "models" / "demo"
RESULT = ROOT / "docs" / "results" / "generate.json"
PROMPTS = ("In the beginning", "And God said", "The LORD is my", "Blessed are the",
           "And it came to pass", "Thou shalt not", "The words of the", "Behold, I")
TEMPERATURE = 0.8
"""Every other prompt is drawn at this, seeded by its number."""


def texts(weights: DecoderWeights, backend: SimBackend, vocabulary: Vocabulary, tokens: int,
          prompts: tuple[str, ...] = PROMPTS) -> list[dict[str, Any]]:
    """Tokens and cycles of each prompt, and whether the golden model has the same.

    Every other prompt's tokens are drawn; the others are greedy.
    """
    rows = []
    window = backend.config.window
    for number, prompt in enumerate(prompts):
        sampling = Sampling.of(TEMPERATURE, number) if number % 2 else GREEDY
        words = vocabulary.encode(prompt)
        made = generate(weights, [backend], window, words, tokens, sampling)
        expected = golden_tokens(weights, window, words, made.tokens, sampling)
        predicted = predicted_cycles(backend.config, weights, [*words, *made.tokens[:-1]],
                                     len(words), made.tokens if number % 2 else None)
        rows.append({
            "prompt": prompt, "temperature": None if sampling is GREEDY else TEMPERATURE,
            "tokens": made.tokens, "text": vocabulary.decode(made.tokens),
            "golden_equal": made.tokens == expected,
            "cycles_equal": None if predicted is None else predicted == made.read_cycles,
            "cycles_per_token": made.cycles_per_token,
            "cycles_read": made.read_cycles, "seconds": round(made.seconds, 2),
            "cpu_seconds": round(made.cpu_seconds, 2)})
    return rows


def perplexity(weights: DecoderWeights, backend: SimBackend, count: int) -> dict[str, Any]:
    """Perplexity of held-out text by the RTL's own logits, and by the exact model's."""
    window = load_file(DEMO / "heldout.safetensors")["tokens"][0, :count + 1].astype(np.int64)
    backend.reset()
    exact = ExactDecoder(weights, window=backend.config.window)
    wanted = exact.forward(window[:-1])
    different = 0
    losses: list[float] = []
    exact_losses: list[float] = []
    for place, token in enumerate(window[:-1].tolist()):
        backend.decode(token)
        found = backend.logits()
        if found is None:
            raise ValueError("the simulation shows no logits")
        scale = float(exact.logit_scale[place])
        different += int(not np.array_equal(found.values, wanted[place])
                         or found.scale != scale)
        for values, unit, into in ((found.values, found.scale, losses),
                                   (wanted[place], scale, exact_losses)):
            real = values * unit
            into.append(float(np.logaddexp.reduce(real) - real[window[place + 1]]))
    return {"tokens": count, "perplexity": float(np.exp(np.mean(losses))),
            "perplexity_exact": float(np.exp(np.mean(exact_losses))),
            "tokens_with_other_logits": different, "equal": different == 0}


def report(config: AcceleratorConfig, tokens: int, held_out: int) -> dict[str, Any]:
    """Everything that the result says."""
    weights = load_model(DEMO / "model.safetensors")
    backend = SimBackend(config, report=lambda text: print(text, file=sys.stderr))
    backend.load(weights, config.window)
    rows = texts(weights, backend, Vocabulary(DEMO / "tokenizer.json"), tokens)
    compared = [row["cycles_equal"] for row in rows]
    held = perplexity(weights, backend, held_out) if held_out else None
    reads = [cycle for row in rows for cycle in row["cycles_read"]]
    backend.close()
    return {
        "preset": config.name, "clock_mhz": config.clock_mhz, "prompts": rows,
        "generated": sum(len(row["tokens"]) for row in rows),
        "golden_equal": all(row["golden_equal"] for row in rows),
        "cycles_equal": None if None in compared else all(compared),
        "mean_cycles_per_generated_token": round(float(np.mean(
            [cycle for row in rows for cycle in row["cycles_per_token"][1:]])), 1),
        "tokens_per_cpu_second": round(
            len(reads) / sum(row["cpu_seconds"] for row in rows), 2),
        "held_out": held}


def main() -> int:
    """Write the result; 1 if anything is not the golden model's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="ulx3s")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--held-out", type=int, default=200)
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    found = report(resolve(asked.preset), asked.tokens, asked.held_out)
    record(asked.out, f"python -m host.generate_report --preset {asked.preset} --tokens "
                      f"{asked.tokens} --held-out {asked.held_out}", found)
    held = found["held_out"]
    print(f"{found['generated']} tokens, equal: {found['golden_equal']}, cycles equal: "
          f"{found['cycles_equal']}, {found['tokens_per_cpu_second']} tokens a second of one core")
    if held:
        print(f"held-out perplexity {held['perplexity']:.3f}, exact "
              f"{held['perplexity_exact']:.3f}")
    sound = found["golden_equal"] and found["cycles_equal"] is not False
    return 0 if sound and (held is None or held["equal"]) else 1


if __name__ == "__main__":
    sys.exit(main())
