# SPDX-License-Identifier: Apache-2.0
"""Waves as text: one line a signal, drawn from what it is in each cycle."""

from collections.abc import Mapping, Sequence

__all__ = ["Value", "draw"]

LEAST = 6
"""Characters of one cycle, unless a payload's name needs more."""

Value = bool | str | None
"""A level, a payload's name, or nothing that matters."""


def _cell(value: Value, before: Value, size: int) -> str:
    if value is None:
        return "." * size
    if isinstance(value, str):
        return ("=" if value == before else f"<{value}").ljust(size, "=")
    line = "~" if value else "_"
    edge = before is not None and before != value
    return (("/" if value else "\\") if edge else line).ljust(size, line)


def draw(signals: Mapping[str, Sequence[Value]]) -> str:
    """Return the signals' waves below the cycles' numbers.

    Levels are drawn as ``~`` and ``_``, payloads by their names, what does not matter as dots.

    Raises
    ------
    ValueError
        Two signals have different numbers of cycles.
    """
    counts = {len(values) for values in signals.values()}
    if len(counts) != 1:
        raise ValueError(f"signals must have one length, not {sorted(counts)}")
    width = max(map(len, [*signals, "cycle"])) + 2
    texts = [value for values in signals.values() for value in values if isinstance(value, str)]
    size = max([LEAST, *(len(text) + 2 for text in texts)])
    lines = ["cycle".ljust(width) + "".join(str(n).ljust(size) for n in range(counts.pop()))]
    for name, values in signals.items():
        cells = (_cell(value, values[n - 1] if n else None, size)
                 for n, value in enumerate(values))
        lines.append(name.ljust(width) + "".join(cells))
    return "\n".join(line.rstrip() for line in lines) + "\n"
