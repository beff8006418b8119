# SPDX-License-Identifier: Apache-2.0
"""The register table: what a host sees of the accelerator, as data.

RTL, SVD, C header, HTML page and Python driver all come from `REGISTERS`.  Words have 32 bits and
lie in 4 KiB.  Offsets are a promise: a register may be added in a gap, which raises the minor
version, but none moves; what breaks a driver raises the major version.
"""

from dataclasses import dataclass

from golden_model.config import _one_of, _require

__all__ = ["ADDRESS_BITS", "COUNTERS", "ERRORS", "IDENTITY", "MAP_VERSION", "REGISTERS", "Field",
           "Register", "register"]

ADDRESS_BITS = 12
"""Bits of a byte address: one page of 4 KiB."""
WORD_BYTES = 4
IDENTITY = 0x54524954
"""``TRIT`` in ASCII, the first letter in the top byte."""
MAP_VERSION = (1, 1)
"""Major and minor version of this table."""

ACCESS = {
    "constant": "ro", "status": "ro", "counter": "ro", "counter_high": "ro", "pop": "ro",
    "setting": "rw", "sticky": "w1c", "strobe": "wo", "push": "wo",
}
"""Access of each kind of register, as a host sees it."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """Some bits of a register."""

    name: str
    low: int
    bits: int = 1
    description: str
    reset: int = 0

    def __post_init__(self) -> None:
        _require(0 <= self.low and 1 <= self.bits and self.low + self.bits <= 32,
                 f"{self.name}: bits must lie in 31:0, not {self.low + self.bits - 1}:{self.low}")
        _require(0 <= self.reset < 1 << self.bits,
                 f"{self.name}: reset must fit {self.bits} bits, not {self.reset}")

    @property
    def mask(self) -> int:
        """Ones where the register holds this field."""
        return ((1 << self.bits) - 1) << self.low


@dataclass(frozen=True, kw_only=True)
class Register:
    """One word.

    `kind` says what the hardware does with it: ``constant`` is fixed when the hardware is
    generated; ``status`` shows what a unit drives; ``setting`` keeps what the host wrote;
    ``sticky`` bits are set by a unit and cleared by writing ones; ``strobe`` bits pulse for one
    cycle where a one is written; ``push`` and ``pop`` are the ends of queues; ``counter`` is the
    low half of 64 bits, and reading it latches the high half for the ``counter_high`` after it.
    """

    name: str
    offset: int
    kind: str
    fields: tuple[Field, ...]
    description: str
    fault: str = ""
    """Sticky error of a push into a full queue or of a pop from an empty one."""

    def __post_init__(self) -> None:
        _one_of(self, kind=tuple(ACCESS))
        _require(0 <= self.offset < 1 << ADDRESS_BITS and self.offset % WORD_BYTES == 0,
                 f"{self.name}: offset must be a word's in 4 KiB, not {self.offset:#x}")
        used = 0
        for field in self.fields:
            _require(not used & field.mask, f"{self.name}.{field.name}: bits are taken")
            used |= field.mask
        _require(len({field.name for field in self.fields}) == len(self.fields),
                 f"{self.name}: two fields have one name")

    @property
    def access(self) -> str:
        """``ro``, ``rw``, ``w1c`` or ``wo``."""
        return ACCESS[self.kind]

    @property
    def reset(self) -> int:
        """Word after reset."""
        return sum(field.reset << field.low for field in self.fields)

    @property
    def mask(self) -> int:
        """Ones where a field lies."""
        return sum(field.mask for field in self.fields)


def _flags(*pairs: tuple[str, str]) -> tuple[Field, ...]:
    """One-bit fields from bit 0 up."""
    return tuple(Field(name=name, low=low, description=text)
                 for low, (name, text) in enumerate(pairs))


def _word(description: str, *, name: str = "value", bits: int = 32,
          reset: int = 0) -> tuple[Field, ...]:
    """One field from bit 0 up."""
    return (Field(name=name, low=0, bits=bits, description=description, reset=reset),)


ERRORS = (
    ("bus_slave", "A read of the image was answered with SLVERR."),
    ("bus_decode", "A read of the image was answered with DECERR: nothing lies at its address."),
    ("bus_protocol", "A burst ended early or late, or data came that nobody had asked for."),
    ("bus_lost", "Reads were given up: not answered in WATCHDOG_LIMIT cycles after a soft reset."),
    ("watchdog", "Busy without progress for as long as WATCHDOG_LIMIT: a soft reset followed."),
    ("image_header", "The image is damaged or for another hardware: nothing was started."),
    ("program_opcode", "The program holds an instruction that does not exist."),
    ("kv_never_written", "The program read a row of the KV cache that was never written."),
    ("kv_capacity", "The sequence is as long as the model's context."),
    ("kv_slot", "KV_SLOT names a slot that does not exist."),
    ("ecc_double", "A memory word had two wrong bits; it was not corrected."),
    ("token_range", "A prompt token lies outside the vocabulary."),
    ("prompt_overflow", "A prompt token was written while the queue was full, and is lost."),
    ("generated_underflow", "A token was read while none was there."),
    ("restore_overflow", "A word was written to KV_RESTORE_DATA while it could take none."),
    ("save_underflow", "A word was read from KV_SAVE_DATA while none was there."),
    ("image_write", "An image was written while a token was in work, or none is on the chip."),
    ("kv_order", "The program used the KV cache out of order, or a saved sequence has no length."),
)
"""Causes of the sticky errors, from bit 0 up."""

COUNTERS = (
    ("cycles", "Clock cycles."),
    ("busy", "Cycles in which a token was in work."),
    ("stall_weights", "Busy cycles in which the array waited for weights."),
    ("stall_vector", "Busy cycles in which the array waited for activations."),
    ("stall_kv", "Busy cycles in which the array waited for the KV cache."),
    ("stall_input", "Cycles in which the next prompt token was not there yet."),
    ("stall_output", "Cycles in which the queue of generated tokens was full."),
    ("weight_beats", "Beats of weights taken from memory."),
    ("tokens", "Tokens done, prompt tokens among them."),
    ("ecc_corrected", "Memory words in which one wrong bit was corrected."),
)
"""Counters of 64 bits: what each counts."""

COUNTER_BASE = 0x100


def _counters() -> tuple[Register, ...]:
    """Two words a counter."""
    words: list[Register] = []
    for number, (name, text) in enumerate(COUNTERS):
        offset = COUNTER_BASE + 2 * WORD_BYTES * number
        words += [
            Register(name=f"count_{name}", offset=offset, kind="counter",
                     fields=_word("Bits 31:0; reading them latches bits 63:32."),
                     description=f"{text}  Read this word first."),
            Register(name=f"count_{name}_high", offset=offset + WORD_BYTES, kind="counter_high",
                     fields=_word("Bits 63:32 of the counter whose low word was read last."),
                     description=f"High word of count_{name}."),
        ]
    return tuple(words)


_IRQS = _flags(
    ("done", "The prompt and every token asked for are done, or an abort is."),
    ("error", "A bit of ERRORS was set."),
    ("token", "A generated token was put into the queue."),
    ("prompt", "A prompt token was taken from the queue."),
    ("kv", "Saving, restoring or clearing a slot is done."),
)

REGISTERS: tuple[Register, ...] = (
    # What this hardware is.
    Register(name="id", offset=0x000, kind="constant", description="Says that this is Tritforge.",
             fields=_word("`TRIT` in ASCII.", reset=IDENTITY)),
    Register(name="version", offset=0x004, kind="constant",
             description="Version of this register table.",
             fields=(Field(name="minor", low=0, bits=16, reset=MAP_VERSION[1],
                           description="Raised by additions."),
                     Field(name="major", low=16, bits=16, reset=MAP_VERSION[0],
                           description="Raised by what breaks a driver."))),
    Register(name="config_hash_low", offset=0x008, kind="constant",
             description="Hash of the configuration, which an image must carry too.",
             fields=_word("Bits 31:0.")),
    Register(name="config_hash_high", offset=0x00C, kind="constant",
             description="Hash of the configuration.", fields=_word("Bits 63:32.")),
    Register(name="array", offset=0x010, kind="constant", description="The ternary array.",
             fields=(Field(name="rows", low=0, bits=12, description="Dot products."),
                     Field(name="lanes", low=12, bits=16, description="Products in each."),
                     Field(name="digit_bits", low=28, bits=4, description="Bits of a digit."))),
    Register(name="cache", offset=0x014, kind="constant", description="The KV cache.",
             fields=(Field(name="window", low=0, bits=20, description="Tokens in a slot."),
                     Field(name="slots", low=20, bits=12, description="Sequences."))),
    Register(name="memory", offset=0x018, kind="constant", description="Where weights lie.",
             fields=(Field(name="data_bits", low=0, bits=12,
                           description="Width of the AXI4 port; 0: weights are on chip."),
                     Field(name="outstanding", low=12, bits=8,
                           description="Bursts that may be under way at a time."),
                     Field(name="address_bits", low=20, bits=8,
                           description="Bits of a byte address."))),
    Register(name="queues", offset=0x01C, kind="constant", description="The token queues.",
             fields=(Field(name="prompt", low=0, bits=16, description="Prompt tokens it holds."),
                     Field(name="generated", low=16, bits=16,
                           description="Generated tokens it holds."))),
    # Control and state.
    Register(name="control", offset=0x020, kind="strobe",
             description="Commands; each bit is one.  A soft reset leaves settings, counters, "
                         "errors and the image as they are; it forgets every sequence.",
             fields=_flags(
                 ("start", "Read the settings and go: the prompt, then the tokens to generate."),
                 ("abort", "End after the token in work."),
                 ("soft_reset", "Drop what is in work, empty the queues and the KV cache."),
                 ("clear_counters", "Set every counter to 0."),
                 ("check", "Read the image and check it, as the first start does by itself."))),
    Register(name="status", offset=0x024, kind="status", description="State of the accelerator.",
             fields=(*_flags(
                 ("idle", "Nothing is in work: a start would be obeyed."),
                 ("running", "A token is in work."),
                 ("input_wait", "The next prompt token is not there yet."),
                 ("output_wait", "The queue of generated tokens is full."),
                 ("draining", "A soft reset waits for reads that are under way."),
                 ("image_valid", "The image at IMAGE_BASE was read and is sound."),
                 ("saving", "A slot is being saved."),
                 ("restoring", "A slot is being restored.")),
                 Field(name="phase", low=8, bits=8, description="Step of the program."),
                 Field(name="layer", low=16, bits=16, description="Layer in work."))),
    Register(name="errors", offset=0x028, kind="sticky", fields=_flags(*ERRORS),
             description="What went wrong; survives a soft reset.  Write ones to clear."),
    Register(name="irq_status", offset=0x02C, kind="sticky", fields=_IRQS,
             description="What happened.  Write ones to clear."),
    Register(name="irq_enable", offset=0x030, kind="setting", fields=_IRQS,
             description="Bits of IRQ_STATUS that raise the interrupt."),
    Register(name="watchdog_limit", offset=0x034, kind="setting",
             description="Cycles without progress after which the watchdog acts.",
             fields=_word("Cycles; 0: never.", reset=1 << 20)),
    Register(name="error_address_low", offset=0x038, kind="status",
             description="Address of the first burst that failed since bus_slave, bus_decode and "
                         "bus_protocol were last clear.", fields=_word("Bits 31:0.")),
    Register(name="error_address_high", offset=0x03C, kind="status",
             description="Address of the first burst that failed.", fields=_word("Bits 63:32.")),
    # What to run; a start reads these.
    Register(name="image_base_low", offset=0x040, kind="setting",
             description="Byte address of the memory image, a multiple of 4096.",
             fields=_word("Bits 31:0.")),
    Register(name="image_base_high", offset=0x044, kind="setting",
             description="Byte address of the memory image.", fields=_word("Bits 63:32.")),
    Register(name="prompt_count", offset=0x048, kind="setting",
             description="Tokens to take from PROMPT_TOKEN before any is generated.",
             fields=_word("Tokens.", bits=20)),
    Register(name="generate_count", offset=0x04C, kind="setting",
             description="Tokens to generate at most.", fields=_word("Tokens.", bits=20)),
    Register(name="stop_token", offset=0x050, kind="setting",
             description="Token after which generation ends.",
             fields=(Field(name="token", low=0, bits=24, description="Token."),
                     Field(name="enable", low=31, description="Whether there is one."))),
    Register(name="kv_slot", offset=0x054, kind="setting",
             description="Sequence that the next start or KV command is for.",
             fields=_word("Slot.", name="slot", bits=12)),
    Register(name="sampling", offset=0x058, kind="setting",
             description="Sampling constant, log2(e) * 2**f / temperature, as a small float.",
             fields=(Field(name="mantissa", low=0, bits=16, description="Mantissa."),
                     Field(name="exponent", low=16, bits=8, description="Exponent, signed."),
                     Field(name="enable", low=31, description="0: greedy, the largest logit."))),
    Register(name="seed", offset=0x05C, kind="setting",
             description="Start of the random generator; 0 stands for 0x9E3779B9.",
             fields=_word("Seed.")),
    # Tokens in and out.
    Register(name="prompt_token", offset=0x060, kind="push", fault="prompt_overflow",
             description="Puts one token into the prompt's queue.",
             fields=_word("Token.", name="token", bits=24)),
    Register(name="generated_token", offset=0x064, kind="pop", fault="generated_underflow",
             description="Takes one token from the queue of generated ones.",
             fields=(Field(name="token", low=0, bits=24, description="Token."),
                     Field(name="last", low=30, description="The last one of this start."),
                     Field(name="valid", low=31, description="0: there was none."))),
    Register(name="levels", offset=0x068, kind="status", description="Levels of the queues.",
             fields=(Field(name="prompt_space", low=0, bits=16,
                           description="Tokens that PROMPT_TOKEN takes."),
                     Field(name="generated", low=16, bits=16,
                           description="Tokens that GENERATED_TOKEN holds."))),
    Register(name="position", offset=0x06C, kind="status",
             description="Tokens of the sequence in KV_SLOT so far.",
             fields=_word("Tokens.", bits=20)),
    Register(name="random_state", offset=0x070, kind="status",
             description="State of the random generator: a seed that resumes the sequence.",
             fields=_word("State.")),
    # The KV cache.
    Register(name="kv_control", offset=0x080, kind="strobe", description="Commands for KV_SLOT.",
             fields=_flags(("clear", "Forget the sequence."),
                           ("save", "Send the sequence to KV_SAVE_DATA."),
                           ("restore", "Take the sequence from KV_RESTORE_DATA."))),
    Register(name="kv_words", offset=0x084, kind="status",
             description="Words that are still to come, or to be written.",
             fields=_word("Words.")),
    Register(name="kv_save_data", offset=0x088, kind="pop", fault="save_underflow",
             description="Next word of the sequence that is being saved.",
             fields=_word("Word.", name="word")),
    Register(name="kv_restore_data", offset=0x08C, kind="push", fault="restore_overflow",
             description="Next word of the sequence that is being restored.",
             fields=_word("Word.", name="word")),
    # An image on the chip.
    Register(name="image_address", offset=0x090, kind="push", fault="image_write",
             description="Beat of the image that IMAGE_DATA writes next; it has to be checked "
                         "again.", fields=_word("Beats.", name="beat")),
    Register(name="image_data", offset=0x094, kind="push", fault="image_write",
             description="Next 32 bits of the image, the lowest of a beat first; each beat takes "
                         "whole words.  Beats follow one another.",
             fields=_word("Bits.", name="word")),
    *_counters(),
)
"""Every register, by offset."""


def _check(registers: tuple[Register, ...]) -> None:
    """Raise ``ValueError`` unless names and offsets are unique and offsets ascend."""
    offsets = [one.offset for one in registers]
    _require(offsets == sorted(set(offsets)), "offsets must ascend")
    _require(len({one.name for one in registers}) == len(registers), "names must be unique")
    faults = {one.fault for one in registers if one.fault} - {name for name, _ in ERRORS}
    _require(not faults, f"no such errors: {faults}")


_check(REGISTERS)


def register(name: str) -> Register:
    """Return the register of that name.

    Raises
    ------
    KeyError
        There is none.
    """
    for one in REGISTERS:
        if one.name == name:
            return one
    raise KeyError(name)
