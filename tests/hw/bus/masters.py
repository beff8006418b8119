# SPDX-License-Identifier: Apache-2.0
"""Masters of the control bus, at a pace of their own, stepped beside the golden model."""

import random
from collections import deque

CHANNELS = ("aw", "w", "ar")


class AxiLiteMaster:
    """Offers the accesses of a list on their channels, each channel at its own pace."""

    def __init__(self, accesses, seed, rate):
        self.random = random.Random(seed)
        self.rate = rate
        self.queues = {
            "aw": deque(one.offset for one in accesses if one.write),
            "w": deque((one.data, one.strobe) for one in accesses if one.write),
            "ar": deque(one.offset for one in accesses if not one.write)}
        self.offers = dict.fromkeys(CHANNELS)
        self.answers = {"b": [], "r": []}

    def drive(self):
        for name in CHANNELS:
            if self.offers[name] is None and self.queues[name] \
                    and self.random.random() < self.rate:
                self.offers[name] = self.queues[name].popleft()
        self.ready = {name: self.random.random() < self.rate for name in "br"}

    def step(self, model):
        for name in CHANNELS:
            if getattr(model, name) is None:
                self.offers[name] = None
        for name in "br":
            if getattr(model, name) is not None and self.ready[name]:
                self.answers[name].append(getattr(model, name))

    def set(self, ctx, bus):
        """Set the master's signals."""
        for name in CHANNELS:
            offer = self.offers[name]
            ctx.set(getattr(bus, f"{name}valid"), offer is not None)
            if offer is not None and name == "w":
                ctx.set(bus.wdata, offer[0])
                ctx.set(bus.wstrb, offer[1])
            elif offer is not None:
                ctx.set(getattr(bus, f"{name}addr"), offer | 2)  # ignored
        ctx.set(bus.bready, self.ready["b"])
        ctx.set(bus.rready, self.ready["r"])


class WishboneMaster:
    """Makes the accesses of a list in order; now and then it gives one up."""

    def __init__(self, accesses, seed, rate, give_up):
        self.random = random.Random(seed)
        self.rate = rate
        self.give_up = give_up
        self.queue = list(accesses)
        self.access = None  # what the strobe shows
        self.cyc = False
        self.unanswered = 0
        self.answers = []
        self.given_up = 0

    @property
    def done(self):
        return not self.queue and self.access is None and not self.unanswered

    def drive(self):
        busy = self.access is not None or self.unanswered
        if busy and self.random.random() < self.give_up:
            # The bus cycle ends; what was asked for is forgotten.
            self.given_up += self.unanswered
            self.access, self.cyc, self.unanswered = None, False, 0
            return
        if self.access is None and self.queue and self.random.random() < self.rate:
            self.access = self.queue.pop(0)
        self.cyc = self.access is not None or self.unanswered > 0

    def step(self, model):
        if not self.cyc:
            return
        if model.answer is not None:
            self.answers.append(model.answer)
            self.unanswered -= 1
            if not model.pipelined:
                self.access = None
                return
        if model.pipelined:
            if self.access is not None and not model.stall:
                self.access = None
                self.unanswered += 1
        elif self.access is not None and not self.unanswered:
            self.unanswered = 1

    def set(self, ctx, bus):
        """Set the master's signals."""
        access = self.access
        ctx.set(bus.cyc, self.cyc)
        ctx.set(bus.stb, access is not None)
        if access is not None:
            ctx.set(bus.adr, access.offset >> 2)
            ctx.set(bus.we, access.write)
            ctx.set(bus.dat_w, access.data)
            ctx.set(bus.sel, access.strobe)
