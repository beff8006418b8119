# SPDX-License-Identifier: Apache-2.0
"""An image over the link: each beat once, on from where it stopped, refused if it is not right."""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest

from golden_model.config import config_hash
from golden_model.presets import preset
from golden_model.registers import register
from golden_model.weights import random_weights
from host.backends.base import BackendError
from host.backends.cpu import CpuBackend
from host.fit import image_for
from host.link import trial
from host.link.content import beat_words, content_of, packed
from host.link.device import LinkDevice
from host.link.errors import DeviceRefusedError, IdentityError, LinkTimeoutError
from host.link.frame import Frame
from host.link.image import Content, upload
from host.link.link import SYNC, Patience
from host.link.server import modelled
from tests.host.link.harness import QUICK, Bench

CONFIG, WEIGHTS = trial.CONFIG, trial.WEIGHTS
HASH = int(config_hash(CONFIG), 16)


class Memory:
    """Beats of one word that are written, with what was written twice."""

    beat_words = 1

    def __init__(self):
        self.words, self.again = {}, 0

    def write_image(self, beat, words):
        for place, word in enumerate(words, beat):
            self.again += place in self.words
            self.words[place] = word

    def read(self, address):
        return 0

    def write(self, address, word):
        pass

    def tick(self):
        return False


def talk(bus):
    """Make a device in a session, and what sends it commands."""
    device = LinkDevice(bus)
    device.handle(Frame(SYNC, 0, b"\1\2\3\4"))
    numbers = iter(range(1, 60_000))

    def send(op, payload):
        answer = device.handle(Frame(op, next(numbers), payload)).payload
        return answer[0], answer[1:]
    return device, send


def image(words, beat=1):
    data = np.asarray(words, "<u4").tobytes()
    return data, struct.pack("<IIH", zlib.crc32(data), len(words) // beat, beat)


def piece(first, words):
    return struct.pack("<I", first) + np.asarray(words, "<u4").tobytes()


def test_pieces_are_written_once_and_in_order():
    memory = Memory()
    device, send = talk(memory)
    words = list(range(100, 110))
    _, begin = image(words)
    assert send(5, piece(0, words[:3]))[0] == 7          # nothing was begun
    assert send(4, begin) == (0, bytes(4))
    assert send(5, piece(0, words[:4])) == (0, b"\4\0\0\0")
    assert send(5, piece(0, words[:4])) == (0, b"\4\0\0\0")
    assert send(5, piece(6, words[6:]))[0] == 7          # a gap
    assert send(5, piece(2, words[2:6]))[0] == 7         # astride
    assert send(5, piece(4, [*words[4:], 1]))[0] == 7    # beyond the end
    assert send(4, begin) == (0, b"\4\0\0\0")            # a host that starts again goes on
    assert send(5, piece(4, words[4:])) == (0, b"\n\0\0\0")
    assert [memory.words[place] for place in range(10)] == words
    assert (memory.again, device.images.written) == (0, 2)
    assert send(4, begin) == (0, b"\n\0\0\0")            # all of it is there
    assert send(4, image(words[:-1])[1]) == (0, bytes(4))


def test_an_image_of_another_crc_is_refused_and_forgotten():
    _, send = talk(Memory())
    _, begin = image([1, 2, 3])
    assert send(4, begin)[0] == 0
    assert send(5, piece(0, [1, 2, 4]))[0] == 8
    assert send(5, piece(0, [1, 2, 3]))[0] == 7
    assert send(4, begin) == (0, bytes(4))


def test_a_write_behind_its_back_makes_the_record_void():
    _, send = talk(Memory())
    _, begin = image([1, 2, 3])
    send(4, begin), send(5, piece(0, [1, 2, 3]))
    send(3, struct.pack("<HBBI", register("seed").offset, 1, 0, 5))
    assert send(4, begin)[1] == b"\3\0\0\0"
    send(3, struct.pack("<HBBI", register("image_data").offset, 1, 0, 5))
    assert send(4, begin)[1] == bytes(4)


@pytest.mark.parametrize(("op", "payload", "status"), [
    (4, b"", 3), (4, struct.pack("<IIH", 1, 1, 2), 6), (5, b"\0\0\0", 3), (5, bytes(4), 3),
    (5, bytes(7), 3)])
def test_refusals(op, payload, status):
    _, send = talk(Memory())
    assert send(4, image([1, 2])[1])[0] == 0
    assert send(op, payload) == (status, b"")


def test_a_device_without_a_memory_for_images_says_so():
    with Bench() as bench:
        link = bench.link(Patience())
        link.connect()
        with pytest.raises(DeviceRefusedError, match="unknown op"):
            upload(link, Content(bytes(8), 1), lambda: None)


def fresh(weights=WEIGHTS):
    return modelled(CpuBackend(), weights, CONFIG)


def content(weights=WEIGHTS):
    return content_of(image_for(weights, CONFIG), CONFIG)


def serial(bench, patience=QUICK, image=content, **faults):
    return bench.serial(patience, 2.0, HASH, image, **faults)


def test_upload_check_and_text():
    with Bench(make=fresh) as bench:
        backend = serial(bench, Patience())
        backend.load(WEIGHTS, CONFIG.window)
        assert backend.uploaded == content().beats == bench.device.images._there
        tokens = [backend.prefill(trial.PROMPT)]
        for _ in range(5):
            tokens.append(backend.decode(tokens[-1]))
        assert tokens == trial.golden(None, 0)
        backend.load(WEIGHTS, CONFIG.window)             # it is there already
        assert backend.uploaded == content().beats
        bench.let_go()
        again = serial(bench, Patience())                # another host, the same device
        again.load(WEIGHTS, CONFIG.window)
        assert again.uploaded == 0
        assert again.prefill(trial.PROMPT) == tokens[0]


def test_it_goes_on_where_it_stopped():
    """Long silence in the middle ends the session, not the upload."""
    told = []
    with Bench(make=fresh) as bench:
        backend = serial(bench, at={-1: "none"})
        backend._progress = lambda done, of: told.append(done)
        port = backend.registers.link.port
        command = backend.registers.link.command

        def broken(op, payload=b""):
            if len(told) == 3 and len(port.at) == 1:
                port.at |= {port.pieces + n: "drop" for n in range(QUICK.attempts)}
            return command(op, payload)
        backend.registers.link.command = broken
        backend.load(WEIGHTS, CONFIG.window)
        assert port.struck == ["drop"] * QUICK.attempts
        assert backend.uploaded == content().beats
        assert backend.prefill(trial.PROMPT) == trial.golden(None, 0)[0]
    assert told == sorted(told)


def test_a_device_that_restarts_in_the_middle_gets_it_all_again():
    with Bench(make=fresh) as bench:
        backend = serial(bench, Patience(), at={17: "reset"})
        backend.load(WEIGHTS, CONFIG.window)
        assert content().beats < backend.uploaded < 2 * content().beats
        assert backend.prefill(trial.PROMPT) == trial.golden(None, 0)[0]


def test_it_is_given_up_in_time():
    with Bench(make=fresh) as bench:
        backend = serial(bench, at={17: "silence"})
        with pytest.raises(BackendError, match="no answer"):
            backend.load(WEIGHTS, CONFIG.window)
        bench.let_go()
        link = bench.link()
        link.connect()
        calls = []
        link.command = lambda *_: calls.append(1) or (_ for _ in ()).throw(LinkTimeoutError("x"))
        with pytest.raises(LinkTimeoutError):
            upload(link, content(), lambda: None)
        assert len(calls) == 3


def test_what_is_not_this_devices_image_is_refused():
    other = random_weights(trial.SHAPE, WEIGHTS.numerics, 5)
    with Bench(make=fresh) as bench:
        with pytest.raises(BackendError, match="does not take the image: it reports image_header"):
            serial(bench, Patience()).load(other, CONFIG.window)
        bench.let_go()
        # Damaged, with a CRC of the transfer that is right.
        def spoiled(_):
            data = bytearray(content().data)
            data[-16] ^= 1
            return content()._replace(data=bytes(data))
        with pytest.raises(BackendError, match="does not take the image"):
            serial(bench, Patience(), spoiled).load(WEIGHTS, CONFIG.window)


def test_another_configuration_is_refused_ahead_of_any_piece():
    with Bench(make=fresh) as bench:
        backend = bench.serial(Patience(), 1.0, HASH + 1, content)
        with pytest.raises(BackendError, match="built for another"):
            backend.load(WEIGHTS, CONFIG.window)
        assert bench.device.images.written == 0
        bench.let_go()
        link = bench.link(Patience())

        def refuse():
            raise IdentityError("another")
        with pytest.raises(IdentityError):
            upload(link, content(), refuse)


def test_a_model_that_does_not_fit_is_a_sentence():
    big = random_weights(replace(trial.SHAPE, ffn=1024), WEIGHTS.numerics, 1)
    with Bench(make=fresh) as bench, pytest.raises(BackendError, match="ffn is 1024"):
        serial(bench, Patience()).load(big, CONFIG.window)


def test_shapes_in_memory():
    beats = image_for(WEIGHTS, CONFIG)
    found = content_of(beats, CONFIG)
    assert packed(found.data, found.beat_words, beats.beats.shape[1]) == beats.content
    axi = preset("axi128")
    assert (beat_words(axi), found.base) == (4, None)


def test_without_an_image_nothing_starts():
    with Bench(make=fresh) as bench:
        backend = bench.serial(Patience(), 0.3, HASH)    # its image should be there: it is not
        backend.load(WEIGHTS, CONFIG.window)
        with pytest.raises(BackendError, match="image_header"):
            backend.prefill([1])
