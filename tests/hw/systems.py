# SPDX-License-Identifier: Apache-2.0
"""Accelerators around the stand-in of a decoder, images for them, and the text that is right."""

from dataclasses import replace

import numpy as np

from golden_model.accelerator import Accelerator as Model
from golden_model.config import config_hash
from golden_model.control.token_loop import Facts
from golden_model.presets import preset
from golden_model.program import Instruction
from golden_model.system_config import SystemConfig
from host.backends.sim import SimBus
from host.compile.image import make_image
from host.driver import Driver
from hw.accelerator import Accelerator
from sim.system import System
from tests.hw.stand_in import FAULTY, STATE_WORDS, StandIn, follow

VOCAB, CONTEXT, WINDOW = 256, 40, 16


class WithStandIn(Accelerator):
    """An accelerator that does not decode."""

    def make_core(self):
        """Return the stand-in."""
        return StandIn(self.config.decoder, VOCAB)


def configuration(bus="axi_lite", memory="block", **change):
    """Return a small configuration of two slots."""
    tiny = preset("tiny")
    return replace(
        tiny, window=WINDOW, units=replace(tiny.units, up_width=64, down_width=64),
        system=SystemConfig(**{"bus": bus, "memory": memory, "depth": 256, "slots": 2,
                               "prompt_depth": 4, "generated_depth": 4, "data_bits": 128,
                               **change}))


def image_of(config, seed=1, hash_of=None, **change):
    """Return an image of random beats, with changed facts if asked for."""
    size = config.decoder.port.beat_bits // 8
    data = np.random.default_rng(seed).integers(0, 256, (30, size)).astype(np.uint8)
    facts = {"vocab": VOCAB, "context": CONTEXT, "slots": 2, "streams": 2, "words": 1,
             "window": WINDOW, "state_words": STATE_WORDS, "head_instructions": 3, **change}
    return make_image(size, hash_of or config_hash(config), "f" * 16, [Instruction("end")] * 5,
                      data, facts)


class Judge(Model):
    """The golden model with the stand-in's arithmetic."""

    def __init__(self, config, image):
        header = image.header
        beats = [int.from_bytes(beat.tobytes(), "little") for beat in image.beats]
        self.beats = beats[header["program"]:]
        self.states = {}
        super().__init__(config, Facts(header["vocab"], header["context"], header["window"],
                                       header["state_words"]), self._read)

    def _read(self, slot, token, position, skip):
        state = 0 if position == 0 else self.states[slot]
        self.states[slot], following = follow(state, token, self.beats, VOCAB)
        return None if skip else following

    def text(self, start, slot=0):
        """Tokens that a start generates."""
        reads, error = self.start(start, slot)
        return [read.following for read in reads if read.following is not None], error


def opened(config, image=None, build=WithStandIn):
    """Return the driver of a running accelerator with its image loaded, and its judge."""
    image = image or image_of(config)
    system = System(build(config))
    driver = Driver(SimBus(system), config)
    driver.load(image)
    return driver, system, Judge(config, image)


def prompt(count, seed=1):
    """Return tokens, none of them faulty."""
    rng = np.random.default_rng(seed)
    return tuple(int(token) for token in rng.integers(0, FAULTY, count))
