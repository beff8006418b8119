# SPDX-License-Identifier: Apache-2.0
"""Streams of a port on the memory image."""

from amaranth import *
from amaranth.lib import data, stream

from golden_model.image_config import ImagePortConfig

__all__ = ["beat_stream", "burst_layout", "burst_stream"]


def burst_layout(config: ImagePortConfig):
    """Payload of a request: first beat, and how many, at least 1."""
    return data.StructLayout({"address": config.address_bits, "beats": config.count_bits})


def burst_stream(config: ImagePortConfig):
    """Signature of the requests."""
    return stream.Signature(burst_layout(config))


def beat_stream(config: ImagePortConfig):
    """Signature of the answers: the beats of every request in order, one after the other."""
    return stream.Signature(config.beat_bits)
