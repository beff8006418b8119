# SPDX-License-Identifier: Apache-2.0
"""Payloads of the KV cache's streams, and what its parts tell each other."""

from amaranth import *
from amaranth.lib import data, enum

from golden_model.formats import KV_SCALE_BIAS, KV_SCALE_FRACTION_BITS
from golden_model.kv_config import CODE_BITS, ERRORS, SCALE_BITS, KvCacheConfig
from golden_model.quant_config import MANTISSA_BITS
from hw.quant.scale_lanes import SMALL_FLOAT

__all__ = ["ERROR_LAYOUT", "ROW_SCALE", "Events", "Move", "Operation", "RowFormat",
           "address_layout", "append_layout", "codes_layout", "control_layout", "geometry_layout",
           "key_word_layout", "kv_scale", "read_layout", "row_word_layout", "same_stream",
           "stream_layout", "value_word_layout", "walk_layout", "word_layout", "write_layout",
           "written_layout"]

ERROR_LAYOUT = data.StructLayout(dict.fromkeys(ERRORS, 1))
"""Sticky errors; see :data:`golden_model.kv_config.ERRORS`."""


class Events:
    """Errors of this cycle, a signal each: `errors.slot` and so on.

    One signal of which some bits never change is no use in Verilog: a block that drives constants
    has nothing to wait for, and in Icarus those bits stay unknown.
    """

    def __init__(self):
        for name in ERRORS:
            setattr(self, name, Signal(name=f"error_{name}"))

    def as_value(self):
        """Bits of an `ERROR_LAYOUT`."""
        return Cat(getattr(self, name) for name in ERRORS)


class Operation(enum.Enum, shape=unsigned(3)):
    """What a control command does."""

    CONFIGURE = 0
    CLEAR = 1
    ADVANCE = 2
    SAVE = 3
    RESTORE = 4


class Move(enum.Enum, shape=unsigned(2)):
    """Which of several tokens in progress is the newest one from now on."""

    SAME = 0
    NEXT = 1
    FIRST = 2


def _below(limit):
    """Shape of 0 .. limit - 1 that has at least one bit: a port of none would be one of two."""
    return range(max(limit, 2))


def codes_layout(config: KvCacheConfig):
    """Codes of one memory word."""
    return data.ArrayLayout(unsigned(CODE_BITS), config.lanes)


def read_layout(config: KvCacheConfig):
    """Payload of ``i_read_k`` and ``i_read_v``; `newest` waits for the row that is to come."""
    return data.StructLayout({"slot": _below(config.slots), "stream": _below(config.sinks),
                              "newest": 1})


def stream_layout(config: KvCacheConfig):
    """Which stream of which slot."""
    return data.StructLayout({"slot": _below(config.slots), "stream": _below(config.sinks)})


def written_layout(config: KvCacheConfig):
    """Whether a row was written, and which one."""
    return data.StructLayout({"valid": 1, **append_layout(config).members})


def same_stream(one, other):
    """Whether two payloads name the same stream of the same slot."""
    return (one.slot == other.slot) & (one.stream == other.stream)


def append_layout(config: KvCacheConfig):
    """Payload of ``i_append``: whose row follows on ``i_row``; `value` says V and not K."""
    return data.StructLayout({"slot": _below(config.slots), "stream": _below(config.sinks),
                              "value": 1})


def row_word_layout(config: KvCacheConfig):
    """Payload of ``i_row``: `scale` counts on the row's last word only."""
    return data.StructLayout({"codes": codes_layout(config), "scale": SCALE_BITS, "last": 1})


def word_layout(config: KvCacheConfig):
    """One word of a row and what it says of itself; `scale` is valid on every word of its row."""
    return data.StructLayout({"codes": codes_layout(config), "scale": SCALE_BITS, "bos": 1,
                              "last_word": 1, "last": 1})


def key_word_layout(config: KvCacheConfig):
    """Payload of ``o_k``: the same, and the scale of the value row of the same token."""
    fields = word_layout(config).members
    return data.StructLayout({"codes": fields["codes"], "scale": SCALE_BITS,
                              "value_scale": SCALE_BITS, **fields})


def value_word_layout(config: KvCacheConfig):
    """Payload of ``o_v``: its scale has come with the key's."""
    fields = word_layout(config).members
    return data.StructLayout({name: fields[name] for name in fields if name != "scale"})


def control_layout(config: KvCacheConfig):
    """Payload of ``i_control``; each operation looks at the fields that it needs."""
    return data.StructLayout({
        "op": Operation, "slot": _below(config.slots),
        # configure
        "slots": range(config.slots + 1), "streams": range(config.sinks + 1),
        "words": range(config.row_words + 1), "window": range(config.window + 1),
        # restore
        "length": range(config.window + 1),
        # advance: to another token in progress, of which none is complete yet
        **({"move": Move} if config.batch > 1 else {}),
    })


def geometry_layout(config: KvCacheConfig):
    """Geometry that `configure` leaves: strides and ends of the rings, all in addresses."""
    rows, words = config.rows, config.rows * config.row_words
    return data.StructLayout({
        "slots": range(config.slots + 1), "streams": range(config.sinks + 1),
        "words": range(config.row_words + 1), "window": range(config.window + 1),
        "stride": range(config.sinks + 1), "code_step": range(config.sinks * config.row_words + 1),
        "code_end": range(words + 1), "scale_end": range(rows + 1),
    })


def walk_layout(config: KvCacheConfig):
    """Rows to walk: perhaps the first token's, then `rows` of the ring from `code`, `scale` on."""
    return data.StructLayout({
        "bos": 1, "rows": range(config.window), "poison": 1, "bare": 1,
        "index": _below(config.sinks),
        "code": _below(config.code_memory.depth), "scale": _below(config.rows),
    })


def address_layout(config: KvCacheConfig):
    """One word's place: in the memory of first tokens if `bos` is set.

    `poison` asks for zeros, `bare` for a value's scale of zero.
    """
    return data.StructLayout({
        "bos": 1, "poison": 1, "bare": 1, "last_word": 1, "last": 1,
        "code": _below(max(config.code_memory.depth, config.sink_memory.depth)),
        "scale": _below(config.scale_memory.depth),
    })


def write_layout(config: KvCacheConfig):
    """One word to write, and on a row's last word its scale."""
    return data.StructLayout({"at": address_layout(config), "codes": codes_layout(config),
                              "scale": SCALE_BITS})


ROW_SCALE = data.StructLayout({"scale": SMALL_FLOAT, "kv": 16})
"""A head's scale, and what a row is stored with: it as a KV scale, of min/max codes with the zero
point in the lowest `KV_ZERO_BITS` bits."""


class RowFormat(enum.Enum, shape=unsigned(2)):
    """Code of a head: signed absmax of a query; one of three of a key or value."""

    QUERY = 0
    MIDRISE = 1
    SYMMETRIC = 2
    MINMAX = 3


def kv_scale(scale, spare=0):
    """KV scale nearest to a small float, ties to even, saturated; what is too small is zero.

    Its lowest `spare` bits are left out.
    """
    places = MANTISSA_BITS - 1 - KV_SCALE_FRACTION_BITS
    dropped = places + spare
    mantissa = scale.m[dropped:-1]
    up = scale.m[dropped - 1] & (scale.m[:dropped - 1].any() | scale.m[dropped])
    # Rounding up carries into the exponent by itself.
    code = Cat(mantissa, scale.e + (KV_SCALE_BIAS + places)).as_signed() + up
    most = 0xFFFF >> spare
    return Mux((code < 0) | ~scale.m[-1], 0, Mux(code > most, most, code[:16 - spare]))
