# SPDX-License-Identifier: Apache-2.0
"""A modelled accelerator at the other end of a pseudo-terminal (for tests)."""

import os
import pty
import threading
import tty
from pathlib import Path

from golden_model.config import ModelShape, Numerics
from golden_model.weights import random_weights
from host.backends.cpu import CpuBackend
from host.backends.serial import SerialBackend
from host.link.device import LinkDevice, serve
from host.link.faults import FaultyPort
from host.link.link import Link, Patience
from host.link.model import Geometry, RegisterModel
from host.link.port import TerminalPort

__all__ = ["HASH", "QUICK", "SHAPE", "WEIGHTS", "Bench"]

SHAPE = ModelShape(vocab=19, hidden=12, ffn=14, layers=1, heads=2, kv_heads=1, head_dim=6,
                   context=24)
WEIGHTS = random_weights(SHAPE, Numerics(), 66)  # its greedy text does not repeat one token
HASH = 0x0123456789ABCDEF
QUICK = Patience(first=0.04, longest=0.2, attempts=4)
JOIN_SECONDS = 10


class Bench:
    """Device thread, terminal and whatever was opened on it; all of it ends with the block."""

    def __init__(self, window=SHAPE.context, queue=32, weights=WEIGHTS, config_hash=HASH):
        self.window, self.weights = window, weights
        master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = Path(os.ttyname(self._slave))
        self.geometry = Geometry(config_hash=config_hash, window=window, vocab=SHAPE.vocab,
                                 context=SHAPE.context, queue=queue)
        self.backend = CpuBackend()
        self.device = LinkDevice(self.fresh())
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=serve, args=(self.device, TerminalPort(master, "device"), self._stop),
            daemon=True)
        self._open = []

    def fresh(self):
        """Make registers as after power-up."""
        self.backend.load(self.weights, self.window)
        return RegisterModel(self.backend, self.geometry)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        for each in self._open:
            each.close()
        self.unplug()
        os.close(self._slave)

    def unplug(self):
        """Take the device's end of the terminal away."""
        self._stop.set()
        self._thread.join(JOIN_SECONDS)
        assert not self._thread.is_alive()

    def port(self, noise=0, **faults):
        port = TerminalPort.open(self.path)
        if faults:
            port = FaultyPort(port, on_reset=lambda: self.device.restart(self.fresh), seed=noise,
                              **faults)
        self._open.append(port)
        return port

    def link(self, patience=QUICK, seed=0, **faults):
        return Link(self.port(**faults), patience, seed)

    def serial(self, patience=QUICK, stall_seconds=0.5, config_hash=HASH, **faults):
        return SerialBackend(self.link(patience, **faults), config_hash, stall_seconds)
