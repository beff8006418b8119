# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.image.crc`: CRC-32 (IEEE 802.3) bit by bit."""

__all__ = ["START", "step"]

START = 0xFFFF_FFFF
"""State ahead of the first byte; the CRC is the last state with every bit inverted."""
POLYNOMIAL = 0xEDB8_8320
"""Bits in the order in which they leave the register."""


def step(state: int, content: bytes) -> int:
    """State after some bytes."""
    for byte in content:
        for place in range(8):
            feedback = (state ^ byte >> place) & 1
            state = state >> 1 ^ feedback * POLYNOMIAL
    return state
