# SPDX-License-Identifier: Apache-2.0
"""Frames: literal bytes, round trips, and streams that are no frames."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.link.frame import (
    MAX_PAYLOAD,
    MAX_WIRE,
    Frame,
    FrameError,
    FrameReader,
    decode,
    encode,
)

FRAMES = st.builds(Frame, st.integers(0, 255), st.integers(0, 65535),
                   st.binary(max_size=MAX_PAYLOAD), st.integers(0, 255))


def test_bytes_worked_out_by_hand():
    """Body 01 02 34 12 02 00 | 00 ff | CRC: zeros are replaced by the distance to the next."""
    assert zlib.crc32(b"123456789") == 0xCBF43926  # the published check value
    assert encode(Frame(2, 0x1234, b"\x00\xff")).hex(" ") == (
        "00 06 01 02 34 12 02 01 06 ff 81 68 d7 3c 00")


@given(FRAMES)
def test_round_trip(frame):
    wire = encode(frame)
    assert wire[0] == wire[-1] == 0
    assert 0 not in wire[1:-1]
    assert len(wire) - 2 <= MAX_WIRE
    assert decode(wire[1:-1]) == frame


@given(FRAMES, st.data())
def test_a_changed_byte_is_noticed(frame, data):
    wire = bytearray(encode(frame)[1:-1])
    place = data.draw(st.integers(0, len(wire) - 1))
    wire[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FrameError):
        decode(bytes(wire))


@given(st.binary(max_size=700))
@settings(max_examples=300)
def test_anything_else_is_refused_by_name(wire):
    try:
        decode(wire)
    except FrameError:
        return
    pytest.fail("noise has a good CRC")


@given(st.lists(st.one_of(FRAMES, st.binary(max_size=40)), max_size=6), st.data())
def test_a_stream_in_any_pieces(items, data):
    """Noise costs at most the frames that it touches: frames carry their own delimiters."""
    stream = b"".join(encode(x) if isinstance(x, Frame) else x for x in items)
    reader, found = FrameReader(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        found += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert found == [x for x in items if isinstance(x, Frame)]


def test_a_stream_without_an_end_takes_no_memory():
    reader = FrameReader()
    for _ in range(1000):
        assert reader.feed(b"\x55" * 1000) == []
    assert len(reader._partial) <= MAX_WIRE
    assert reader.feed(encode(Frame(1, 2))) == [Frame(1, 2)]
    assert reader.discarded == 1


def test_limits():
    with pytest.raises(ValueError, match="at most 512"):
        encode(Frame(1, 1, bytes(513)))
    with pytest.raises(FrameError, match="too few"):
        decode(b"\x02\x01")
    good = encode(Frame(1, 1, bytes(512)))
    assert FrameReader().feed(good)[0].payload == bytes(512)


def test_a_length_that_lies_with_a_good_crc():
    from cobs import cobs

    body = bytes([1, 2, 0, 0, 9, 0]) + b"abc"
    wire = cobs.encode(body + zlib.crc32(body).to_bytes(4, "little"))
    with pytest.raises(FrameError, match="9 bytes of payload"):
        decode(wire)
