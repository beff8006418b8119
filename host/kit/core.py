# SPDX-License-Identifier: Apache-2.0
"""A FuseSoC core description (CAPI2) of the generated files."""

import json
import re
from collections.abc import Iterator, Sequence

from golden_model.accelerator_config import AcceleratorConfig
from host.manifest import tool_versions

__all__ = ["CORE", "core_file"]

CORE = "tritforge.core"


def _version() -> str:
    """Version of the generator, or 0 where it is not installed: FuseSoC wants numbers."""
    found = tool_versions("tritforge")["tritforge"]
    return found if re.fullmatch(r"\d+(\.\d+)*", found) else "0"


def _fileset(name: str, kind: str, files: Sequence[str]) -> Iterator[str]:
    yield f"  {name}:"
    yield "    files:"
    for file in files:
        include = ": {is_include_file: true}" if file.endswith(".h") else ""
        yield f"      - {file}{include}"
    yield f"    file_type: {kind}"


def _target(name: str, top: str, sets: str, lint: bool) -> Iterator[str]:
    yield f"  {name}:"
    yield f"    filesets: [{sets}]"
    yield f"    toplevel: {top}"
    if lint:
        yield "    flow: lint"
        yield "    flow_options:"
        yield "      tool: verilator"
        yield "      verilator_options: [-Wall]"


def core_file(config: AcceleratorConfig, modules: Sequence[str], sources: Sequence[str], top: str,
              waivers: str, software: Sequence[str]) -> str:
    """Return the text of the core description.

    Parameters
    ----------
    modules
        Modules that a design may instantiate; each has a target ``lint_<module>``.
    sources
        Their files.
    software
        Files beside them; of these the C sources are listed.
    """
    driver = [name for name in software if name.endswith((".c", ".h"))]
    lines = [
        "CAPI=2:", "# SPDX-License-Identifier: Apache-2.0",
        f"name: tritforge:accelerator:{config.name}:{_version()}",
        f"description: {json.dumps(config.description)}", "",
        "filesets:", *_fileset("rtl", "verilogSource-2005", sources),
        *_fileset("waivers", "vlt", [waivers]),
    ]
    if driver:
        lines += _fileset("driver", "cSource", driver)
    lines += ["", "targets:", *_target("default", top, "rtl", False)]
    for module in modules:
        lines += _target(f"lint_{module}", module, "rtl, waivers", True)
    if driver:
        lines += _target("software", top, "driver", False)
    return "\n".join([*lines, ""])
