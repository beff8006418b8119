# SPDX-License-Identifier: Apache-2.0
"""Commands over lines that go wrong: executed at most once, answered or given up in time."""

import random
import time

import pytest

from golden_model.registers import IDENTITY, register
from host.link.bus import Registers
from host.link.device import BusError, LinkDevice
from host.link.errors import (
    DeviceRefusedError,
    IdentityError,
    LinkError,
    LinkTimeoutError,
    PortError,
    SessionLostError,
)
from host.link.faults import PASSING, FaultyPort
from host.link.frame import REPLY, Frame, FrameReader, encode
from host.link.link import SYNC, Link, Patience
from host.link.port import TerminalPort
from tests.host.link.harness import HASH, QUICK, Bench

BRISK = Patience(first=0.0005, longest=0.004, attempts=30)


class CountingBus:
    """Every write is remembered; reading gives the count of reads."""

    def __init__(self):
        self.written, self.reads = [], 0

    def read(self, address):
        if address >= 1 << 12:
            raise BusError(address)
        self.reads += 1
        return self.reads

    def write(self, address, word):
        self.written.append((address, word))

    def tick(self):
        return False


class LoopPort:
    """A device without a wire: a write is handled at once."""

    def __init__(self, device):
        self.device, self.reader, self.waiting = device, FrameReader(), b""

    def write(self, data, deadline):
        for frame in self.reader.feed(data):
            reply = self.device.handle(frame)
            if reply is not None:
                self.waiting += encode(reply)

    def read(self, deadline):
        data, self.waiting = self.waiting, b""
        if not data:
            time.sleep(max(0, deadline - time.monotonic()))
        return data

    def close(self):
        self.device = None


def noisy(rate, seed=0, patience=BRISK):
    device = LinkDevice(CountingBus())
    port = FaultyPort(LoopPort(device), rate=rate, seed=seed)
    link = Link(port, patience, seed)
    return device, port, link


@pytest.mark.parametrize("seed", range(3))
def test_each_command_is_executed_exactly_once(seed):
    device, port, link = noisy(0.2, seed)
    registers = Registers(link)
    link.connect()
    chance, wanted, reads = random.Random(seed), [], 0
    for number in range(500):
        if chance.random() < 0.5:
            words = [chance.getrandbits(32) for _ in range(chance.randrange(1, 128))]
            registers.write("irq_enable", *words)
            start = register("irq_enable").offset
            wanted += [(start + 4 * i, word) for i, word in enumerate(words)]
        else:
            reads += 1
            assert registers.read("status") == reads, number
    assert device.bus.written == wanted
    assert device.executed == 500
    assert link.sent > 550
    assert set(port.struck) == set(PASSING)


def test_a_device_without_memory_is_noticed():
    """Negative control: what is executed again for a repeated command gives other counts."""
    class Forgetful(LinkDevice):
        def handle(self, frame):
            if frame == self._last and frame.op != SYNC:
                self._reply = self._execute(frame)
            return super().handle(frame)

    device = Forgetful(CountingBus())
    link = Link(FaultyPort(LoopPort(device), rate=0.2, seed=1), BRISK, 1)
    link.connect()
    registers = Registers(link)
    assert [registers.read("status") for _ in range(100)] != list(range(1, 101))


def test_a_cable_pulled_at_every_byte_of_a_frame():
    device = LinkDevice(CountingBus())
    for length in range(1, 40):
        link = Link(LoopPort(device), BRISK, length)
        link.connect()
        before = len(device.bus.written)
        wire = encode(Frame(3, link._sequence + 1, b"\x30\0\2\0" + bytes(range(8))))
        link.port.write(wire[:length], 0.0)
        whole = length >= len(wire)
        assert len(device.bus.written) == before + 2 * whole
        link.connect()  # plugged in again: the half frame is ended by the next delimiter
        assert Registers(link).read("status")


@pytest.mark.slow
def test_a_hundred_thousand_commands():
    device, _, link = noisy(0.1, 9)
    registers = Registers(link)
    link.connect()
    for number in range(100_000):
        assert registers.read("status") == number + 1
    assert device.executed == 100_000  # the sequence number went round once


def test_the_sequence_number_goes_round():
    device, _, link = noisy(0.0)
    link.connect()
    link._sequence = 65_530
    device._last = Frame(SYNC, 65_530, b"")
    registers = Registers(link)
    assert [registers.read("status") for _ in range(12)] == list(range(1, 13))


def test_silence_ends_in_bounded_time():
    device, port, link = noisy(0.0, patience=QUICK)
    link.connect()
    port.at = {port.pieces: "silence"}
    start = time.monotonic()
    with pytest.raises(LinkTimeoutError, match="4 attempts"):
        Registers(link).read("status")
    assert time.monotonic() - start < QUICK.bound + 0.5
    with pytest.raises(SessionLostError, match="connect first"):
        Registers(link).read("status")
    assert device.executed == 0


def test_a_device_that_restarted_does_not_pretend():
    device, _, link = noisy(0.0)
    registers = Registers(link)
    link.connect()
    registers.read("status")
    device.restart(CountingBus)
    with pytest.raises(SessionLostError, match="restarted"):
        registers.write("irq_enable", 1)
    assert device.bus.written == []
    link.connect()
    registers.write("irq_enable", 1)
    assert len(device.bus.written) == 1


def test_a_second_host_takes_the_session_and_the_first_one_is_told():
    device, _, first = noisy(0.0)
    first.connect()
    second = Link(LoopPort(device), BRISK, seed=7)
    second.connect()
    Registers(second).read("status")
    with pytest.raises(SessionLostError):
        Registers(first).read("status")


def read_frame(sequence, address=0, count=1):
    return Frame(2, sequence, address.to_bytes(2, "little") + bytes([count, 0]))


def sync(sequence, nonce):
    return Frame(SYNC, sequence, nonce.to_bytes(4, "little"))


def test_late_frames_change_nothing():
    """Held-up copies of old frames, an old SYNC among them, are neither executed nor believed."""
    device = LinkDevice(CountingBus())
    assert device.handle(read_frame(1)).payload == b"\x01"  # no session yet
    device.handle(sync(10, 1))
    one = device.handle(read_frame(11))
    assert device.handle(read_frame(11)) == one
    device.handle(sync(20, 2))
    two = device.handle(read_frame(21))
    assert device.handle(sync(10, 1)) is None
    assert device.handle(sync(20, 2)).payload == b"\x00"
    assert device.handle(read_frame(11)).payload == b"\x01"
    assert device.handle(read_frame(21, address=4)).payload == b"\x01"  # same number, other bytes
    assert device.handle(read_frame(21)) == two
    assert device.handle(read_frame(22)).payload[0] == 0
    assert device.executed == 3


@pytest.mark.parametrize(("frame", "status"), [
    (Frame(9, 1), 2), (Frame(2, 1, b"\0"), 3), (Frame(2, 1, b"\0\0\0\0"), 3),
    (Frame(2, 1, b"\0\0\x80\0"), 3), (Frame(2, 1, b"\0\0\1\2"), 3),
    (Frame(2, 1, b"\0\0\1\0x"), 3), (Frame(3, 1, b"\0\0\1\0abc"), 3),
    (Frame(2, 1, b"\x00\x10\1\0"), 4), (Frame(2, 1, version=2), 5), (Frame(SYNC, 1, b"123"), 3),
])
def test_refusals(frame, status):
    device = LinkDevice(CountingBus())
    device.handle(sync(0, 5))
    assert device.handle(frame).payload == bytes([status])


def test_an_echo_of_its_own_reply_is_not_answered():
    device = LinkDevice(CountingBus())
    assert device.handle(Frame(2 | REPLY, 1)) is None


def test_a_refusal_leaves_the_session_as_it_is():
    _, _, link = noisy(0.0)
    link.connect()
    with pytest.raises(DeviceRefusedError, match="no such address"):
        link.command(2, b"\x00\x10\1\0")
    with pytest.raises(DeviceRefusedError, match="unknown op"):
        link.command(0x33)
    assert Registers(link).read("status") == 1


class Answering:
    """A port at whose other end somebody answers whatever the test wants."""

    def __init__(self, answer):
        self.answer, self.reader, self.waiting = answer, FrameReader(), b""

    def write(self, data, deadline):
        for frame in self.reader.feed(data):
            self.waiting += self.answer(frame)

    def read(self, deadline):
        data, self.waiting = self.waiting, b""
        if not data:
            time.sleep(max(0, deadline - time.monotonic()))
        return data

    def close(self):
        pass


@pytest.mark.parametrize("answer", [
    lambda frame: b"U-Boot 2026.01\r\n=> ", lambda frame: encode(frame), lambda frame: b"\0" * 50,
    lambda frame: encode(Frame(frame.op | REPLY, frame.sequence ^ 1, b"\0")),
    lambda frame: encode(Frame(frame.op | REPLY, frame.sequence, b"\0"))[:-4],
    lambda frame: encode(Frame(frame.op, frame.sequence, b"\0")),
], ids=["boot text", "echo", "zeros", "other sequence", "cut off", "no reply"])
def test_what_is_no_answer_is_waited_out(answer):
    with pytest.raises(LinkTimeoutError):
        Link(Answering(answer), BRISK).connect()


@pytest.mark.parametrize("payload", [b"", b"\x63", b"\0" * 4])
def test_answers_of_another_form(payload):
    def answer(frame):
        return encode(Frame(frame.op | REPLY, frame.sequence, payload))

    link = Link(Answering(answer), BRISK)
    link._sequence = 0
    with pytest.raises(LinkError):
        Registers(link).read("status")


@pytest.mark.parametrize(("words", "message"), [
    ({0: 0x12345678}, "no Tritforge"), ({1: 9 << 16}, "version 9"), ({2: 1}, "built for another"),
])
def test_who_answers_is_checked_ahead_of_any_write(words, message):
    class Other(CountingBus):
        def read(self, address):
            constants = [IDENTITY, 1 << 16, HASH & 0xFFFFFFFF, HASH >> 32, 0, 0, 0, 0]
            return {**dict(enumerate(constants)), **words}[address // 4]

    link = Link(LoopPort(LinkDevice(Other())), BRISK)
    link.connect()
    with pytest.raises(IdentityError, match=message):
        Registers(link).identify(HASH)


def test_over_a_terminal():
    with Bench() as bench:
        link = bench.link(Patience())
        link.connect()
        identity = Registers(link).identify(HASH)
        assert identity.window == 24
        assert (identity.rows, identity.lanes, identity.prompt_queue) == (4, 16, 32)
        with pytest.raises(PortError, match="another program uses it"):
            TerminalPort.open(bench.path)
        link.close()
        with pytest.raises(PortError, match="closed"):
            link.connect()
        again = bench.link(Patience())  # unplugged and plugged in
        again.connect()
        assert Registers(again).identify() == identity


def test_ports_that_are_none(tmp_path):
    (tmp_path / "file").write_text("")
    for path, message in ((tmp_path / "none", "No such file"), (tmp_path, "director"),
                          (tmp_path / "file", "not a terminal")):
        with pytest.raises(PortError, match=message):
            TerminalPort.open(path)
    with pytest.raises(PortError, match="12345 baud"):
        TerminalPort.open(tmp_path / "none", 12_345)
    with pytest.raises(PortError, match="not a terminal"):
        TerminalPort.open(tmp_path.__class__("/dev/null"))
