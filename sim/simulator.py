# SPDX-License-Identifier: Apache-2.0
"""Streams in the Amaranth simulator, with random stalls and the cycle of every transfer.

`send`, `receive` and `fetch` are what testbenches are made of; `Source` and `Recorder` are whole
testbenches of one stream; `simulate` runs testbenches from cycle 0, and a `Device` does so many
times without being built again.
"""

import numpy as np
from amaranth.sim import Simulator

__all__ = [
    "PATIENCE",
    "Device",
    "Recorder",
    "beats",
    "fetch",
    "lane_mask",
    "receive",
    "run_cycles",
    "send",
    "simulate",
    "source",
]

PATIENCE = 3_000
"""Cycles without a transfer after which a stream counts as hung."""


async def _transfer(ctx, port, payload, cycle):
    """Offer a payload until it is taken; return the cycle after that."""
    ctx.set(port.payload, payload)
    ctx.set(port.valid, 1)
    limit = cycle + PATIENCE
    taken = False
    while not taken:
        assert cycle < limit, "a payload is never taken"
        *_, taken = await ctx.tick().sample(port.ready)
        cycle += 1
    ctx.set(port.valid, 0)
    return cycle


async def send(ctx, port, payloads, *, stall=0.0, seed=1, log=None):
    """Send `payloads`; append to `log` the cycle of each transfer."""
    rng = np.random.default_rng(seed)
    cycle = 0
    for payload in payloads:
        while stall and rng.random() < stall:
            await ctx.tick()
            cycle += 1
        cycle = await _transfer(ctx, port, payload, cycle)
        if log is not None:
            log.append(cycle - 1)


async def receive(ctx, port, count, got, *, stall=0.0, seed=2, log=None):
    """Append `count` payloads to `got` and their cycles to `log`."""
    rng = np.random.default_rng(seed)
    held, cycle, limit = None, 0, PATIENCE
    while len(got) < count:
        assert cycle < limit, f"{len(got)} of {count} payloads after {cycle} cycles"
        ctx.set(port.ready, int(not stall or rng.random() >= stall))
        *_, valid, ready, payload = await ctx.tick().sample(port.valid, port.ready, port.payload)
        assert held is None or (valid and payload == held), "a payload changed before it was taken"
        held = payload if valid and not ready else None
        if valid and ready:
            got.append(payload)
            limit = cycle + PATIENCE
            if log is not None:
                log.append(cycle)
        cycle += 1
    ctx.set(port.ready, 0)


async def fetch(ctx, port, requested, bursts, latency, *, stall=0.0, seed=6, log=None):
    """Be a memory: answer each request of the cycles in `requested` with the next burst.

    Bursts come in order, each `latency` cycles after its request at the earliest.  `requested` may
    grow meanwhile: it is the log of whoever receives the requests.
    """
    rng = np.random.default_rng(seed)
    cycle = 0
    for number, burst in enumerate(bursts):
        for payload in burst:
            limit = cycle + PATIENCE
            while (number >= len(requested) or cycle < requested[number] + latency
                   or (stall and rng.random() < stall)):
                assert cycle < limit, "a request is missing"
                await ctx.tick()
                cycle += 1
            cycle = await _transfer(ctx, port, payload, cycle)
            if log is not None:
                log.append(cycle - 1)


def beats(codes, lanes):
    """Rows of `lanes` codes, the last one filled up with a value that must not matter."""
    padded = np.pad(codes, (0, -codes.size % lanes), constant_values=-77)
    return padded.reshape(-1, lanes).tolist()


def lane_mask(flags, lanes):
    """Bit masks of `lanes` flags each; flags past the end are 0."""
    rows = np.pad(np.asarray(flags, np.int64), (0, -len(flags) % lanes)).reshape(-1, lanes)
    return (rows << np.arange(lanes)).sum(axis=1).tolist()


class Recorder:
    """Testbench `run` that collects payloads of one stream and the cycle of each transfer."""

    def __init__(self, stream, count, *, stall=0.0, seed=3):
        self.stream, self.count, self.stall, self.seed = stream, count, stall, seed
        self.payloads, self.cycles = [], []

    async def run(self, ctx):
        """Receive."""
        await receive(ctx, self.stream, self.count, self.payloads, stall=self.stall,
                      seed=self.seed, log=self.cycles)


def source(stream, payloads, *, stall=0.0, seed=2, cycles=None):
    """Return a testbench that sends `payloads`, and notes the cycle of each transfer."""
    async def run(ctx):
        await send(ctx, stream, payloads, stall=stall, seed=seed, log=cycles)
    return run


class Device:
    """A component that is built once and then run from reset as often as one likes.

    What a run costs is its cycles, so that many short ones are affordable.  Ports and whatever else
    the component has are the device's too.
    """

    def __init__(self, dut):
        self._dut = dut
        self._testbenches = []
        self._simulator = None

    def __getattr__(self, name):
        return getattr(self._dut, name)

    def _prepare(self, count):
        """Build a simulator of at least `count` testbenches that do what they are told."""
        if self._simulator is not None and count <= self._slots:
            self._simulator.reset()
            return
        self._slots = count
        self._simulator = Simulator(self._dut)
        self._simulator.add_clock(1e-8)

        def slot(number):
            async def testbench(ctx):
                if number < len(self._testbenches):
                    await self._testbenches[number](ctx)
            return testbench

        for number in range(count):
            self._simulator.add_testbench(slot(number))

    def run(self, *testbenches):
        """Run the testbenches together from cycle 0, until every one is done."""
        self._testbenches = testbenches
        self._prepare(len(testbenches))
        self._simulator.run()


def simulate(dut, *testbenches):
    """Run testbenches together from cycle 0, on a component or on a `Device`."""
    (dut if isinstance(dut, Device) else Device(dut)).run(*testbenches)


def run_cycles(dut, sources, sinks, *, stall=0.0, rng=None, check=None):
    """Offer payloads and take results until every sink has what it expects.

    Parameters
    ----------
    sources
        Payloads by name of an input stream.
    sinks
        Number of results to take by name of an output stream.
    stall
        Probability that an input is not offered, or an output not taken, in a cycle.
    rng
        Where the stalls' seeds come from.
    check
        Called each cycle with a dictionary of (valid, ready) by stream name.

    Returns
    -------
    dict
        For each sink, its transfers as (cycle, payload).
    """
    names = [*sources, *sinks]
    seeds = dict(zip(names, range(len(names)) if rng is None else
                     rng.integers(1 << 32, size=len(names)).tolist()))
    recorders = {name: Recorder(getattr(dut, name), count, stall=stall, seed=seeds[name])
                 for name, count in sinks.items()}
    drivers = [source(getattr(dut, name), payloads, stall=stall, seed=seeds[name])
               for name, payloads in sources.items()]
    running = len(drivers) + len(recorders)

    def counted(testbench):
        async def run(ctx):
            nonlocal running
            await testbench(ctx)
            running -= 1
        return run

    async def watch(ctx):
        flat = [port for name in names for port in (getattr(dut, name).valid,
                                                    getattr(dut, name).ready)]
        while running:
            _, _, *seen = await ctx.tick().sample(*flat)
            check(dict(zip(names, zip(seen[::2], seen[1::2]))))

    simulate(dut, *map(counted, [*drivers, *(recorder.run for recorder in recorders.values())]),
             *([watch] if check else []))
    return {name: list(zip(recorder.cycles, recorder.payloads))
            for name, recorder in recorders.items()}
