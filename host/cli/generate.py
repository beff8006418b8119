# SPDX-License-Identifier: Apache-2.0
"""``tritforge generate``: text from a prompt, live, and the golden model's verdict on it."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from host.cli.output import (
    ConfigOption,
    FileOption,
    JsonOption,
    PresetOption,
    console,
    print_json,
    step,
)

if TYPE_CHECKING:
    from host.backends.select import Choice
    from host.generate import Generation
    from host.text import Vocabulary

__all__ = ["generate"]

DEMO = Path(__file__).parents[2] / "models" / "demo"
DEFAULT_PRESET = "ulx3s"
WAVES = Path("build", "waves", "generate.fst")


def generate(
    prompt: Annotated[str, typer.Argument(help="Text to go on from.")] = "In the beginning",
    backend: Annotated[str, typer.Option(
        help="`sim` (the generated RTL), `array` (its array as a service of products, the rest on "
             "the CPU), `cpu`, `gpu`, `serial`, or `auto`: the first that is there and that the "
             "model fits; see below.")] = "auto",
    preset: PresetOption = None,
    config: FileOption = None,
    override: ConfigOption = None,
    model: Annotated[Path | None, typer.Option(
        metavar="FILE", help="Packed model, its tokenizer.json beside it; default: the demo model.",
        show_default=False)] = None,
    tokens: Annotated[int, typer.Option("--tokens", "-n", min=1, help="Tokens to generate.")] = 32,
    temperature: Annotated[float | None, typer.Option(
        help="Draw tokens at this temperature; greedy unless given.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Start of the random generator.")] = 0,
    port: Annotated[Path | None, typer.Option(
        metavar="DEVICE", help="Serial port of a board; or `--backend serial:DEVICE`.",
        show_default=False)] = None,
    canary: Annotated[int, typer.Option(
        min=0, help="On a board or an array: tokens of a trial that has to be the CPU's, ahead of "
        "its use and every 64 tokens; 0: none.")] = 4,
    as_json: JsonOption = False,
    trace: Annotated[Path | None, typer.Option(
        metavar="FILE", help="With `sim`: write every instruction's cycles as a Chrome trace.",
        show_default=False)] = None,
    waves: Annotated[bool, typer.Option(
        "--waves", help=f"With `sim`: write {WAVES}; slow.")] = False,
    profile: Annotated[bool, typer.Option(
        "--profile", help="With `sim`: show where the cycles go.")] = False,
) -> None:
    """Generate text, and compare every token with the golden model's.

    With `--backend sim` the text comes from the RTL of the preset (default: ulx3s), Verilated, with
    the model's image in its memory; the cycles in which tokens appear are compared too. Every
    backend gives the same tokens. A difference ends the command with code 1.

    `auto` tries, in this order: the board at `--port`; the simulated hardware, if you name it
    (`--preset`, `--config` or `-c`) and it was built before, as a build takes minutes; a GPU; the
    CPU. What the model exceeds (a layer, the vocabulary, the context, a format) is told with its
    value, the limit, and the key of the configuration that changes it. What is left in the middle
    of a text is told too; the next one goes on with the same tokens.

    For example:

    - `tritforge generate "In the beginning" --backend sim`

    - `tritforge generate "And God said" --backend sim --preset tiny -n 8 --profile`

    - `tritforge generate "And God said" --backend array --preset icebreaker -n 4`

    - `tritforge generate "And God said" --backend cpu --temperature 0.8 --seed 7 --json`
    """
    from host.backends.sampling import Sampling
    from host.backends.select import with_port
    from host.configure import resolve
    from host.errors import CheckFailedError, UserError
    from host.generate import generate as run
    from host.generate import golden_tokens
    from host.model_file import ModelFileError, load_model
    from host.text import Vocabulary

    backend, port = with_port(backend, port)
    chosen = preset or (None if config else DEFAULT_PRESET)
    resolved = resolve(chosen, Path(config) if config else None, override or ())
    path = model or DEMO / "model.safetensors"
    try:
        weights = load_model(path)
        sampling = Sampling.of(temperature, seed)
    except (ModelFileError, ValueError) as error:
        raise UserError(str(error)) from error
    vocabulary = Vocabulary(path.with_name("tokenizer.json"))
    words = vocabulary.encode(prompt)
    with step("Preparing") as progress:
        choice = _choose(backend, resolved, weights, len(words) + tokens, port,
                         WAVES if waves else None, progress,
                         named=bool(preset or config or override))
        if preset or config or override or port:
            for reason in choice.refusals:
                progress(reason)
        for each in choice.backends[:1]:
            each.load(weights, resolved.window)
    hardware: Any = choice.backends[0] if choice.backends[0].name == "sim" else None
    if hardware is None and (trace or waves or profile):
        raise UserError("--trace, --waves and --profile show the RTL: they need --backend sim")
    if hardware is not None and (trace or profile):
        hardware.system.record(steps=True)
    show = _printer(vocabulary, prompt, quiet=as_json)
    tried = canary if choice.backends[0].name in ("serial", "array") else 0
    made = run(weights, choice.backends, resolved.window, words, tokens, sampling, show=show,
               canary=tried)
    show(None)
    with step("Asking the golden model"):
        equal = golden_tokens(weights, resolved.window, words, made.tokens,
                              sampling) == made.tokens
    document = _document(made, vocabulary, prompt, resolved, choice, golden_equal=equal)
    if hardware is not None:
        with step("Asking the cycle model"):
            document |= _cycles(made, resolved, weights, drawn=temperature is not None)
        _observe(hardware, document, trace, profile, {"preset": resolved.name, "prompt": prompt})
    for each in choice.backends:
        each.close()
    if as_json:
        print_json(document)
    else:
        _report(document)
    if not document["golden_equal"]:
        raise CheckFailedError("the tokens are not the golden model's")
    if document.get("cycles_equal") is False:
        raise CheckFailedError("the cycles are not the cycle model's")


def _cycles(made: "Generation", config: Any, weights: Any, *, drawn: bool) -> dict[str, Any]:
    """Cycles that the model predicts of each token that was read, and whether they are right."""
    from host.token_cycles import predicted_cycles

    found = predicted_cycles(config, weights, [*made.prompt, *made.tokens[:-1]], len(made.prompt),
                             made.tokens if drawn else None)
    return {"predicted_cycles": found,
            "cycles_equal": found == made.read_cycles if found and made.read_cycles else None}


def _choose(asked: str, config: Any, weights: Any, tokens: int, port: Path | None,
            waves: Path | None, report: Any, *, named: bool) -> "Choice":
    """Backends of this machine; the simulated hardware if it is asked for, or named and built."""
    from host.backends.select import Simulation, array_candidate, candidates, choose

    if asked == "array":
        return choose(asked, [array_candidate(config, port, report)], weights, config.window,
                      tokens)
    if waves is not None:
        waves.parent.mkdir(parents=True, exist_ok=True)
    simulation = Simulation(config, asked == "sim", waves, report)
    offered = candidates(port, config=config if port else None,
                         simulation=simulation if named or asked == "sim" else None)
    return choose(asked, offered, weights, config.window, tokens)


def _printer(vocabulary: "Vocabulary", prompt: str, *, quiet: bool) -> Any:
    """Return what shows each token as it comes; None ends the line."""
    queue: list[int] = []
    pieces = vocabulary.pieces(iter(queue.pop, None))
    if not quiet:
        sys.stdout.write(prompt)
        sys.stdout.flush()

    def show(token: int | None) -> None:
        if quiet:
            return
        if token is None:
            sys.stdout.write("\n")
        else:
            queue.append(token)
            sys.stdout.write(next(pieces))
        sys.stdout.flush()
    return show


def _document(made: "Generation", vocabulary: "Vocabulary", prompt: str, config: Any,
              choice: "Choice", *, golden_equal: bool) -> dict[str, Any]:
    """Everything that is shown, for programs."""
    document: dict[str, Any] = {
        "prompt": prompt, "prompt_tokens": made.prompt, "tokens": made.tokens,
        "text": vocabulary.decode(made.tokens), "backend": made.backend,
        "backends": choice.reasons, "notices": made.notices, "preset": config.name,
        "window": config.window, "golden_equal": golden_equal,
        "cycles_per_token": made.cycles_per_token, "seconds": round(made.seconds, 3)}
    if made.read_cycles:
        reads = made.prompt_reads
        written = made.read_cycles[reads:] or made.read_cycles
        document |= {
            "cycles_read": made.read_cycles, "clock_mhz": config.clock_mhz,
            "prompt_chunks": made.read_tokens[:reads],
            "prompt_cycles": sum(made.read_cycles[:reads]),
            "tokens_per_second_at_clock": round(
                config.clock_mhz * 1e6 / (sum(written) / len(written) + made.gap), 1),
            "tokens_per_second_simulated": round(sum(made.read_tokens) / made.seconds, 2),
            "tokens_per_cpu_second_simulated": round(
                sum(made.read_tokens) / made.cpu_seconds, 2)}
    return document


def _observe(backend: Any, document: dict[str, Any], trace: Path | None, profile: bool,
             facts: dict[str, Any]) -> None:
    """Add what the simulation shows beside tokens."""
    from host.errors import UserError
    from host.profile import chrome_trace, profile_rows, spans_of

    counters = backend.counters()
    document["counters"] = counters
    if not (trace or profile):
        return
    spans = spans_of(backend.system.steps())
    document["profile"] = profile_rows(spans)
    if trace:
        try:
            trace.parent.mkdir(parents=True, exist_ok=True)
            trace.write_text(json.dumps(chrome_trace(spans, facts)) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{trace}: cannot be written: {error.strerror}") from error
        document["trace"] = str(trace)


def _report(document: dict[str, Any]) -> None:
    """Print the verdict, and what it rests on."""
    screen = console()
    if document.get("profile"):
        from rich.table import Table

        table = Table(title="Where the cycles go")
        for title in ("instruction", "count", "cycles", "a token", "share"):
            table.add_column(title, justify="left" if title == "instruction" else "right")
        for row in document["profile"]:
            table.add_row(row["instruction"], f"{row['count']:,}", f"{row['cycles']:,}",
                          f"{row['cycles_per_token']:,.0f}", f"{row['share']:.1%}")
        screen.print(table)
    for reason in document["notices"]:
        screen.print(reason, markup=False)
    if document.get("cycles_read"):
        rest = document["cycles_read"][len(document["prompt_chunks"]):] or document["cycles_read"]
        screen.print(f"{sum(rest) / len(rest):,.0f} cycles a token: "
                     f"{document['tokens_per_second_at_clock']:,.0f} tokens/s at "
                     f"{document['clock_mhz']:g} MHz; simulated at "
                     f"{document['tokens_per_second_simulated']} tokens/s, "
                     f"{document['tokens_per_cpu_second_simulated']} a second of one core")
    verdict = "equal" if document["golden_equal"] else "NOT EQUAL"
    if document.get("cycles_equal") is not None:
        verdict += ", cycles " + ("equal" if document["cycles_equal"] else "NOT EQUAL")
    screen.print(f"{document['backend']}: {len(document['tokens'])} tokens, golden model: "
                 f"{verdict}", markup=False)
