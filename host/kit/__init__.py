# SPDX-License-Identifier: Apache-2.0
"""What goes beside the Verilog: README with port timing, FuseSoC core, registers, C driver."""

from collections.abc import Mapping
from typing import Any

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.config import config_hash
from host.export import FORMATS
from host.kit.core import CORE, core_file
from host.kit.driver import driver_files
from host.kit.readme import README, readme

__all__ = ["kit_files"]


def kit_files(config: AcceleratorConfig, components: Mapping[str, Any], top: str, control: str,
              waivers: str) -> dict[str, str]:
    """Return the text of every file by name.

    Parameters
    ----------
    components
        As in the manifest: ``file``, ``ports`` and ``latencies`` by the name of the module.
    top
        Name of the module that a design builds on.
    control
        Module that holds the control registers; empty: none does, so that neither registers nor
        driver are part of the kit.
    waivers
        Name of the file of lint waivers.
    """
    files = {}
    if control:
        files = {FORMATS[form][0]: FORMATS[form][1]() for form in ("svd", "c", "html")}
        files |= driver_files(config.name, config_hash(config), config.clock_mhz)
    sources = [facts["file"] for facts in components.values()]
    files[CORE] = core_file(config, list(components), sources, top, waivers, sorted(files))
    files[README] = readme(config, components, top, control, sorted([*files, *sources, waivers]))
    return files
