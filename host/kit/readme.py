# SPDX-License-Identifier: Apache-2.0
"""The README of a generated folder: files, ports, timing, how to build and how to drive it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.bus_config import ControlConfig
from golden_model.config import config_hash
from host.kit.timing import array_waves, control_waves, read_waves, stream_waves
from host.kit.waves import Value, draw

__all__ = ["README", "readme"]

README = "README.md"

PURPOSES = {
    "tritforge.core": "FuseSoC core: targets `default`, `lint_MODULE`, `software`",
    "tritforge.h": "the driver's interface",
    "tritforge.c": "the driver, C99, without allocation and without any library",
    "tritforge_registers.h": "register offsets and fields",
    "tritforge_config.h": "this configuration's hash and clock, and where an image carries them",
    "tritforge.svd": "the registers for debuggers and generators (CMSIS-SVD)",
    "registers.html": "the registers for a browser",
    "manifest.json": "configuration, hash, ports, latencies, versions and a hash of every file",
    "waivers.vlt": "Verilator warnings that generated Verilog raises, switched off",
}

_CLOCK = """
## Clock and reset

One clock, `clk`; everything happens at its rising edge. `rst` is synchronous and active high: hold
it for one cycle at least. Memories and registers power up with their reset values on FPGAs, so that
a reset is not needed after configuration. No port crosses a clock domain: what comes from another
clock has to be synchronised outside.

The configuration is meant for {clock:g} MHz on {target}. The generator constrains nothing: give
`clk` that period in the flow's own constraints.
"""

_STREAMS = """
## Streams

Ports whose names end in `__valid`, `__ready` and `__payload` are streams. A transfer happens in
each cycle in which `valid` and `ready` are both high. A source that has raised `valid` keeps it,
and the payload, until the transfer; it never waits for `ready` to do so. A sink may raise and lower
`ready` as it likes. Fields of a payload are listed from bit 0 up.

```
{waves}```
"""

_DRIVER = """
## The driver

`tritforge.c` needs two functions, which read and write a word of the control port:

```c
#include "tritforge.h"

static uint32_t peek(void *base, uint32_t offset)
{
  return *(volatile uint32_t *)((char *)base + offset);
}

static void poke(void *base, uint32_t offset, uint32_t word)
{
  *(volatile uint32_t *)((char *)base + offset) = word;
}

tritforge_bus bus = {peek, poke, (void *)BASE};
tritforge_device device;
uint32_t prompt[] = {0, 17, 5}, tokens[32];
tritforge_request request = {.prompt_count = 3, .generate_count = 32};
size_t count;

if (tritforge_probe(&device, &bus, TRITFORGE_CONFIG_HASH) == TRITFORGE_OK
    && tritforge_load_image(&device, image, image_size) == TRITFORGE_OK)
  tritforge_generate(&device, &request, prompt, tokens, 32, &count, 1000000);
```

It refuses a device, or an image, of another configuration. After `TRITFORGE_FAULT`,
`tritforge_error_name(tritforge_errors(&device))` says what happened; `tritforge_soft_reset` and
`tritforge_clear_errors` make the device usable again. `tritforge_sampling(0.8)` is the word for
temperature sampling.
"""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _shape(port: Mapping[str, Any]) -> str:
    """Say what a port's bits are."""
    if "fields" in port:
        return ", ".join(
            f"`{field['name']}` {field['width']}"
            + (f" ({field['elements']} x {field['width'] // field['elements']})"
               if field.get("elements") else "") for field in port["fields"])
    if port.get("elements"):
        return f"{port['elements']} x {port['width'] // port['elements']}"
    return "signed" if port.get("signed") else ""


def _ports(facts: Mapping[str, Any]) -> str:
    return _table(("port", "direction", "bits", "fields and their bits, bit 0 first"), [
        (f"`{port['name']}`", port["direction"], str(port["width"]), _shape(port))
        for port in facts["ports"]])


def _latencies(facts: Mapping[str, Any]) -> str:
    if not facts["latencies"]:
        return ""
    listed = ", ".join(f"`{name}` {cycles}" for name, cycles in facts["latencies"].items())
    return f"\nLatencies in cycles, without stalls: {listed}.\n"


def _fence(title: str, waves: Mapping[str, Sequence[Value]]) -> str:
    return f"\n{title}\n\n```\n{draw(waves)}```\n"


def _modules(config: AcceleratorConfig, components: Mapping[str, Any], top: str,
             control: str) -> Iterator[str]:
    for name, facts in components.items():
        whole = name == top and (name == control or len(components) == 1)
        yield f"\n## Module `{name}`{': the whole' if whole else ''}\n\n"
        yield _ports(facts)
        yield _latencies(facts)
        if name == "ternary_array":
            yield _fence("One command of one block of two tiles, everything offered at once:",
                         array_waves(config.array))
        if name == control:
            slave = ControlConfig() if config.system is None else config.control
            pins = "`s_axi__...`" if slave.bus == "axi_lite" else "`wb__...`"
            for kind, waves in control_waves(slave).items():
                what = ("A write of 1 to `control`" if kind == "write" else "A read of `id`")
                yield _fence(f"{what} on {pins}, which meets nothing else:", waves)
        if any(port["name"].startswith("m_axi__") for port in facts["ports"]) and config.system:
            yield _fence("A burst of four beats on `m_axi__...`, from a memory that answers two "
                         "cycles after the address:", read_waves(config.system.axi))


def readme(config: AcceleratorConfig, components: Mapping[str, Any], top: str, control: str,
           files: Sequence[str]) -> str:
    """Return the text; the same configuration gives the same.

    Parameters
    ----------
    components
        As in the manifest.
    top, control
        Module to build on, and the one with the control registers, or nothing.
    files
        Names of the files beside it.
    """
    listed = [(f"`{file}`", PURPOSES.get(file, f"module `{file.removesuffix('.v')}`"))
              for file in sorted({*files, "manifest.json"})]
    array = config.array
    parts = [
        f"# {config.name}\n\n{config.description}.\n\n",
        f"Ternary array of {array.rows} x {array.lanes}, {array.macs_per_cycle} products a cycle; ",
        f"configuration `{config_hash(config)}`. Generated: change the configuration, not these ",
        "files. The same configuration gives the same bytes.\n\n## Files\n\n",
        _table(("file", "content"), listed),
        "\nLint with `verilator --lint-only -Wall waivers.vlt MODULE.v --top-module MODULE`, or ",
        f"`fusesoc run --target lint_{top} tritforge:accelerator:{config.name}`. Each file is ",
        "complete: it holds every module below its own.\n",
        _CLOCK.format(clock=config.clock_mhz, target=config.target.name),
        _STREAMS.format(waves=draw(stream_waves())),
        *_modules(config, components, top, control),
        *([_DRIVER] if control else []),
    ]
    return "".join(parts)
