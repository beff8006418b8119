# SPDX-License-Identifier: Apache-2.0
"""Cycle by cycle: a register file of random temper behind a slave, and a comparison of both."""

import random

from amaranth.sim import Simulator

from golden_model.bus.register_file import Access, Response

ALL = 0b1111


class Backend:
    """Takes requests and answers each once, after a while; `rate` is how often it goes ahead."""

    def __init__(self, seed, rate):
        self.random = random.Random(seed)
        self.rate = rate
        self.ready = False
        self.pending = None
        self.response = None
        self.taken = []
        self.given = []

    def drive(self):
        """Choose what this cycle's inputs are."""
        self.ready = self.random.random() < self.rate
        if self.response is None and self.pending and self.random.random() < self.rate:
            self.response = Response(self.random.getrandbits(32), self.random.random() < 0.3)
            self.pending = False

    def step(self, request, waiting):
        """Note what was transferred in this cycle."""
        if request is not None and self.ready:
            assert not self.pending, "a second request ahead of the first one's response"
            self.taken.append(request)
            self.pending = True
        if self.response is not None and waiting:
            self.given.append(self.response)
            self.response = None


def random_access(rng, address_bits=12):
    """Any access; one in two is a write."""
    offset = rng.getrandbits(address_bits - 2) << 2
    if rng.random() < 0.5:
        return Access(offset, True, rng.getrandbits(32), rng.choice((ALL, rng.getrandbits(4))))
    return Access(offset)


def drive_backend(ctx, dut, backend):
    """Set the inputs of both streams."""
    ctx.set(dut.o.ready, backend.ready)
    ctx.set(dut.i.valid, backend.response is not None)
    if backend.response is not None:
        ctx.set(dut.i.p, {"data": backend.response.data, "error": int(backend.response.error)})


def check_backend(ctx, dut, model):
    """Compare both streams with the model."""
    assert ctx.get(dut.o.valid) == (model.request is not None)
    assert ctx.get(dut.i.ready) == model.waiting
    if model.request is not None:
        request = model.request
        got = ctx.get(dut.o.p)
        assert (got.address << 2, got.write, got.data, got.strobe) == request


def simulate(dut, bench):
    """Run one testbench."""
    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(bench)
    sim.run()
