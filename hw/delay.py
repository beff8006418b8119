# SPDX-License-Identifier: Apache-2.0
"""Registers in a row: what travels beside a pipeline."""

from contextlib import nullcontext

from amaranth import *

__all__ = ["delayed", "later", "register", "vacant"]


def register(m, value, name, *, advance=None, reset_less=True):
    """Return `value` one cycle later; with `advance`, one cycle in which it is set."""
    held = Signal(value.shape(), name=name, reset_less=reset_less)
    with nullcontext() if advance is None else m.If(advance):
        m.d.sync += held.eq(value)
    return held


def vacant(m, ahead, name, *, advance):
    """Return the complement of `ahead` one move of a pipeline later.

    Of a pipeline's last ``valid`` it makes the ``ready`` that others see, whose path then does not
    lead through the net that moves every register of the pipeline.
    """
    held = Signal(name=name, init=1)
    with m.If(advance):
        m.d.sync += held.eq(~ahead)
    return held


def delayed(m, value, steps, name, *, advance=None, reset_less=True):
    """Return `value` 0 to `steps` cycles later, each a register behind the one before."""
    chain = [value]
    for step in range(steps):
        chain.append(register(m, chain[-1], f"{name}_{step}", advance=advance,
                              reset_less=reset_less))
    return chain


def later(m, value, steps, name, *, advance=None, reset_less=True):
    """Return `value` `steps` cycles later."""
    return delayed(m, value, steps, name, advance=advance, reset_less=reset_less)[-1]
