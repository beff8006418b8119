# SPDX-License-Identifier: Apache-2.0
"""Whole accelerators that decode a small model, and the golden model's text of it."""

import numpy as np

from golden_model.accelerator import Accelerator as Model
from golden_model.accelerator_config import AcceleratorConfig, UnitsConfig
from golden_model.config import ArrayConfig, ModelShape, Numerics, config_hash
from golden_model.control.token_loop import Facts
from golden_model.exact import ExactDecoder
from golden_model.presets import TARGETS
from golden_model.system_config import SystemConfig
from golden_model.weights import random_weights
from host.backends.sampling import GREEDY
from host.backends.sim import SimBus
from host.compile.compiler import compile_model
from host.driver import Driver
from hw.accelerator import Accelerator
from sim.system import System

SHAPE = ModelShape(vocab=50, hidden=64, ffn=96, layers=2, heads=4, kv_heads=2, head_dim=16,
                   context=40)
WINDOW = 8
WEIGHTS = random_weights(SHAPE, Numerics(), seed=25)


def configuration(bus="axi_lite", memory="axi", **change):
    """Return an accelerator of two slots that the small model fits."""
    return AcceleratorConfig(
        name="small", description="a test's", target=TARGETS["generic"], clock_mhz=100.0,
        array=ArrayConfig(rows=4, lanes=16, max_k=64, max_m=256),
        units=UnitsConfig(lanes=4, up_width=64, down_width=64, max_hidden=64, max_ffn=128),
        system=SystemConfig(**{"bus": bus, "memory": memory, "depth": 2048, "slots": 2,
                               "streams": 4, "heads": 4, "queries": 2, "head_lanes": 16,
                               "max_vocab": 64, "prompt_depth": 4, "generated_depth": 4, **change}),
        window=WINDOW)


def image_of(config, weights=WEIGHTS):
    """Return the compiled model."""
    return compile_model(weights, config.decoder, config_hash(config))[0]


class Judge(Model):
    """The golden model, which decodes."""

    def __init__(self, config, image, sampling=GREEDY):
        header = image.header
        self.sampling = sampling
        self.decoders = {}
        super().__init__(config, Facts(header["vocab"], header["context"], header["window"],
                                       header["state_words"]), self._read)

    def _read(self, slot, token, position, skip):
        if position == 0:
            self.decoders[slot] = ExactDecoder(WEIGHTS, window=WINDOW)
        decoder = self.decoders[slot]
        logits = decoder.forward([token])[0]
        if skip:
            return None
        following = self.sampling.draw(logits, decoder.logit_scale[0])
        self.sampling = self.sampling.advanced
        return following

    def text(self, start, slot=0):
        """Tokens that a start generates, and the error that ends it."""
        reads, error = self.start(start, slot)
        return [read.following for read in reads if read.following is not None], error


def opened(config, image=None):
    """Return the driver of a running accelerator with the model loaded, the system, a judge."""
    image = image or image_of(config)
    system = System(Accelerator(config))
    driver = Driver(SimBus(system), config)
    driver.load(image)
    return driver, system, Judge(config, image)


def prompt(count, seed=1):
    """Return tokens of the small model."""
    rng = np.random.default_rng(seed)
    return tuple(int(token) for token in rng.integers(0, SHAPE.vocab, count))
