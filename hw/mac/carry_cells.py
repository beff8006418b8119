# SPDX-License-Identifier: Apache-2.0
"""Sums out of an ECP5's own carry cells, where yosys would put LUTs ahead of them."""

from amaranth import *

__all__ = ["add_columns", "on_ecp5"]


_FIRST, _TABLE, _TABLE_WITHOUT_C = 0x000A, 0x965A, 0x66AA
"""The lowest four bits make the carry of A alone; without C, that input is one."""


def _varies(bit):
    """Return whether a column's bit is no constant zero."""
    return not (isinstance(bit, Const) and bit.value == 0)


def on_ecp5(platform):
    """Return whether the Verilog is for synthesis for that family."""
    return getattr(platform, "family", "generic") == "ecp5"


def add_columns(m, name, carry, columns):
    """Return the sum of ``a``, ``(b & d) ^ c`` and `carry`: a bit for each column.

    The table of a CCU2C has two inputs more than an adder needs, which yosys leaves idle.

    Parameters
    ----------
    columns
        a, b, c and d of each bit, the least significant first.
    """
    # The sum bit is A ^ (B & D) ^ C ^ carry.  The first column's table only makes the carry, so
    # that no carry comes into the chain.
    cells = [(carry, C(1), C(1), C(1)), *columns]
    cells += [(C(0), C(0), C(0), C(1))] * (len(cells) % 2)
    tables = [_FIRST, *(_TABLE if _varies(c) else _TABLE_WITHOUT_C for _, _, c, _ in cells[1:])]
    # An input left open reads as one, where a zero is a wire to each: thousands of them.
    cells = [(a, b, c if _varies(c) else C(1), d) for a, b, c, d in cells]
    bits = Signal(len(cells), name=name)
    chain, last = C(0), len(cells) - 2
    for k in range(0, len(cells), 2):
        chain, carry_in = Signal(name=f"{name}_carry_{k}"), chain
        ports = {f"i_{port}{half}": value for half in range(2)
                 for port, value in zip("ABCD", cells[k + half])}
        m.submodules[f"{name}_{k}"] = Instance(
            "CCU2C", p_INIT0=C(tables[k], 16), p_INIT1=C(tables[k + 1], 16),
            p_INJECT1_0="NO", p_INJECT1_1="NO",
            a_carry={0: "first", last: "last"}.get(k, "middle"), i_CIN=carry_in,
            o_COUT=chain, o_S0=bits[k], o_S1=bits[k + 1], **ports)
    return bits[1:1 + len(columns)]
