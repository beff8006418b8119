# SPDX-License-Identifier: Apache-2.0
"""GTKWave save files with the streams of a component, one group each."""

from pathlib import Path

from vcd.gtkw import GTKWSave

__all__ = ["save_groups"]


def save_groups(component, dump, directory, scope):
    """Write a save file for `dump` that groups the ports of `component` by stream.

    The file is named after the component's class and is never overwritten: what a user arranged in
    GTKWave stays.  Returns its path.

    Parameters
    ----------
    scope
        Path of the component's module in the dump.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{type(component).__name__}.gtkw"
    groups = {}
    for member, parts, value in ((m, p, v) for p, m, v in component.signature.flatten(component)):
        name, width = "__".join(map(str, parts)), len(_bits(value))
        groups.setdefault(str(parts[0]), []).append((name, width, member))
    try:
        with path.open("x", encoding="utf-8") as file:
            save = GTKWSave(file)
            save.dumpfile(str(Path(dump).resolve()))
            save.treeopen(f"{scope}.")
            for name in ("clk", "rst"):
                save.trace(f"{scope}.{name}")
            for group, ports in groups.items():
                with save.group(group):
                    for name, width, _ in ports:
                        suffix = f"[{width - 1}:0]" if width > 1 else ""
                        save.trace(f"{scope}.{name}{suffix}", datafmt="hex")
    except FileExistsError:
        pass
    return path


def _bits(value):
    """Value behind a port, whatever its shape."""
    return value.as_value() if hasattr(value, "as_value") else value
