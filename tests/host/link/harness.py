# SPDX-License-Identifier: Apache-2.0
"""A modelled accelerator at the other end of a pseudo-terminal (for tests)."""

from golden_model.config import ModelShape, Numerics
from golden_model.weights import random_weights
from host.backends.cpu import CpuBackend
from host.backends.serial import SerialBackend
from host.link.faults import FaultyPort
from host.link.link import Link, Patience
from host.link.model import Geometry, RegisterModel
from host.link.port import TerminalPort
from host.link.server import Server

__all__ = ["HASH", "QUICK", "SHAPE", "WEIGHTS", "Bench"]

SHAPE = ModelShape(vocab=19, hidden=12, ffn=14, layers=1, heads=2, kv_heads=1, head_dim=6,
                   context=24)
WEIGHTS = random_weights(SHAPE, Numerics(), 66)  # its greedy text does not repeat one token
HASH = 0x0123456789ABCDEF
QUICK = Patience(first=0.04, longest=0.2, attempts=4)


class Bench(Server):
    """Device thread, terminal and whatever was opened on it; all of it ends with the block."""

    def __init__(self, window=SHAPE.context, queue=32, weights=WEIGHTS, config_hash=HASH,
                 make=None):
        self.window, self.weights, self.make = window, weights, make
        self.geometry = Geometry(config_hash=config_hash, window=window, vocab=SHAPE.vocab,
                                 context=SHAPE.context, queue=queue)
        self.backend = CpuBackend()
        self._opened = []
        super().__init__(self.fresh())

    def fresh(self):
        """Make registers as after power-up."""
        if self.make is not None:
            return self.make()
        self.backend.load(self.weights, self.window)
        return RegisterModel(self.backend, self.geometry)

    def let_go(self):
        """Close whatever was opened: another host may come."""
        for each in self._opened:
            each.close()

    def __exit__(self, *error):
        self.let_go()
        super().__exit__(*error)

    def port(self, noise=0, **faults):
        port = TerminalPort.open(self.path)
        if faults:
            port = FaultyPort(port, on_reset=lambda: self.device.restart(self.fresh), seed=noise,
                              **faults)
        self._opened.append(port)
        return port

    def link(self, patience=QUICK, **faults):
        return Link(self.port(**faults), patience, len(self._opened))

    def serial(self, patience=QUICK, stall_seconds=0.5, config_hash=HASH, image=None, **faults):
        return SerialBackend(self.link(patience, **faults), config_hash, stall_seconds,
                             image=image)
