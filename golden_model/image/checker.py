# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.image.checker`: the verdict on an image, and when it is there."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from golden_model.image.crc import START, step
from golden_model.instruction_config import HEADER, MAGIC
from golden_model.system_config import ImageCheckConfig

__all__ = ["Verdict", "check", "check_cycles", "read_header"]


class Verdict(NamedTuple):
    """What a check finds."""

    valid: bool
    header: Mapping[str, int]
    walked: bool
    """Whether the header was sound, so that the CRC was computed."""


def read_header(config: ImageCheckConfig, beats: Sequence[int]) -> dict[str, int]:
    """Fields of the header of an image."""
    number = sum(beat << n * config.port.beat_bits
                 for n, beat in enumerate(beats[:config.header_beats]))
    fields = {}
    for name, bits in HEADER.items():
        fields[name] = number & (1 << bits) - 1
        number >>= bits
    return fields


def check(config: ImageCheckConfig, beats: Sequence[int]) -> Verdict:
    """Check the image at the start of a memory of beats."""
    header = read_header(config, beats)
    size, end = header["beats"], header["program"] + (header["instructions"]
                                                      * config.instruction_beats)
    sound = (header["magic"] == MAGIC and header["config_hash"] == int(config.config_hash, 16)
             and size <= config.depth and header["program"] >= config.header_beats
             and header["instructions"] > 0 and end <= size)
    if not sound:
        return Verdict(False, header, False)
    content = b"".join(beat.to_bytes(config.beat_bytes, "little") for beat in beats[:size])
    crc = step(START, bytes(8) + content[8:]) ^ START
    return Verdict(crc == header["crc"], header, True)


def check_cycles(config: ImageCheckConfig, verdict: Verdict, latency: int) -> int:
    """Cycles from `go` to `done`, of a memory that then gives a beat a cycle.

    Parameters
    ----------
    latency
        Cycles from a request to its first beat.
    """
    look = 1 + latency + config.header_beats + config.judging
    if not verdict.walked:
        return look
    # A beat is taken, and all its parts are; the next is taken with the last of them.
    return look + 1 + latency + verdict.header["beats"] * config.steps + 1
