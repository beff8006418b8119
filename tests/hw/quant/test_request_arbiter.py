# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model import smallfloat
from golden_model.arbiter_config import RequestArbiterConfig
from golden_model.quant.request_arbiter import Client, Grant, arbitrate
from golden_model.quant.small_float_unit import compute
from hw.quant.request_arbiter import RequestArbiter
from hw.quant.scale_lanes import SMALL_FLOAT
from hw.quant.small_float_unit import REQUEST, Operation, SmallFloatUnit
from sim.simulator import Recorder, simulate, source
from tests.hw.quant.tokens import UNIT, small

OPERATIONS = ["mul", "div", "sqrt", "add", "from_int"]


class SharedUnit(wiring.Component):
    """An arbiter and the unit that it shares."""

    def __init__(self, config):
        self.config, self.arbiter = config, RequestArbiter(config)
        super().__init__({"i": In(stream.Signature(REQUEST)).array(config.clients),
                          "o": Out(stream.Signature(SMALL_FLOAT)).array(config.clients)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.arbiter = arbiter = self.arbiter
        m.submodules.unit = unit = SmallFloatUnit(UNIT)
        wiring.connect(m, arbiter.o_request, unit.i)
        wiring.connect(m, unit.o, arbiter.i_response)
        for n in range(self.config.clients):
            wiring.connect(m, wiring.flipped(self.i[n]), arbiter.i_request[n])
            wiring.connect(m, arbiter.o_response[n], wiring.flipped(self.o[n]))
        return m


class Job:
    """One operation on operands of its own: what is asked and what must come back."""

    def __init__(self, operation, rng):
        a, b = (smallfloat.join(int(rng.integers(1 << 15, 1 << 16)), int(rng.integers(-40, 40)))
                for _ in range(2))
        n = int(rng.integers(0, 1 << 62))
        self.operation = operation
        self.request = {"operation": Operation[operation.upper()], "a": small(a), "b": small(b),
                        "n": n}
        self.result = small(smallfloat.from_int(n) if operation == "from_int"
                            else compute(operation, a, b))


def jobs(counts, seed):
    """Return each client's operations."""
    rng = np.random.default_rng(seed)
    return [[Job(OPERATIONS[int(rng.integers(5))], rng) for _ in range(count)] for count in counts]


def paced(port, requests, responses, pause):
    """Return a testbench that offers a request `pause` cycles after the last one's response."""
    async def run(ctx):
        for n, request in enumerate(requests):
            while len(responses.payloads) < n:
                await ctx.tick()
            for _ in range(pause - 1 if n else 0):
                await ctx.tick()
            ctx.set(port.payload, request)
            ctx.set(port.valid, 1)
            ready = False
            while not ready:
                *_, ready = await ctx.tick().sample(port.ready)
            ctx.set(port.valid, 0)
    return run


def late(testbench, cycles):
    async def run(ctx):
        for _ in range(cycles):
            await ctx.tick()
        await testbench(ctx)
    return run


def run(work, *, stall=0.0, starts=None, pauses=None):
    """Check every client's results; return the cycles of its responses."""
    dut = SharedUnit(RequestArbiterConfig(clients=len(work)))
    recorders, benches = [], []
    for n, queue in enumerate(work):
        recorders.append(Recorder(dut.o[n], len(queue), stall=stall, seed=20 + n))
        requests = [job.request for job in queue]
        sending = (source(dut.i[n], requests, stall=stall, seed=40 + n) if pauses is None
                   else paced(dut.i[n], requests, recorders[n], pauses[n]))
        # What is received in a cycle must be noted ahead of what is offered in the next.
        benches += [recorders[n].run, late(sending, starts[n] if starts else 0)]
    simulate(dut, *benches)
    for queue, recorder in zip(work, recorders, strict=True):
        assert [{"m": got.m, "e": got.e} for got in recorder.payloads] \
            == [job.result for job in queue]
    return [recorder.cycles for recorder in recorders]


def check_cycles(work, starts, pauses):
    took = run(work, starts=starts, pauses=pauses)
    clients = [Client([job.operation for job in queue], start, pause or 1)
               for queue, start, pause in zip(work, starts, pauses or [1] * len(work))]
    grants = arbitrate(UNIT, clients)
    assert took == [[grant.response for grant in grants if grant.client == n]
                    for n in range(len(work))]
    return grants


@pytest.mark.parametrize("counts", [[6], [5, 4], [3, 0, 5], [3, 4, 2, 3, 1]], ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.9])
def test_each_client_gets_its_own_results(counts, stall):
    run(jobs(counts, seed=1), stall=stall)


@pytest.mark.parametrize(("starts", "pauses"), [
    ([0, 0, 0], None), ([7, 0, 100], None), ([0, 3, 3], [1, 40, 9]), ([90, 50, 0], [25, 1, 130]),
], ids=str)
def test_grants_match_golden_model(starts, pauses):
    check_cycles(jobs([6, 5, 4], seed=2), starts, pauses)


def test_a_lone_client_loses_no_cycle():
    work = jobs([0, 5, 0], seed=3)
    names = [job.operation for job in work[1]]
    grants = check_cycles(work, [0, 0, 0], None)
    assert grants[-1].response == sum(UNIT.latency[name] + 1 for name in names) - 1


def test_nobody_waits_longer_than_stated():
    """A client that asks now and then, among busy ones that take the longest operation."""
    rng = np.random.default_rng(4)
    config = RequestArbiterConfig(clients=3)
    work = [[Job("sqrt", rng) for _ in range(9)], [Job("sqrt", rng) for _ in range(9)],
            [Job("mul", rng) for _ in range(3)]]
    starts = [0, 0, 40]
    grants = check_cycles(work, starts, [1, 1, 1])
    assert [grant.client for grant in grants[:8]] == [0, 1, 2, 0, 1, 2, 0, 1]
    waits, offered = [], 40
    for grant in (grant for grant in grants if grant.client == 2):
        waits.append(grant.request - offered)
        offered = grant.response + 1
    assert 77 <= max(waits) <= config.longest_wait(UNIT) == 116


def test_an_offered_request_keeps_its_turn():
    """The unit is slow to take it, and another client comes whose turn would be first."""
    dut = RequestArbiter(RequestArbiterConfig(clients=2))
    seen = []

    async def bench(ctx):
        first, second = ({"operation": Operation.MUL, "n": n} for n in (5, 6))
        ctx.set(dut.i_request[1].payload, second)
        ctx.set(dut.i_request[1].valid, 1)
        for cycle in range(4):
            ctx.set(dut.o_request.ready, cycle == 2)
            seen.append((ctx.get(dut.o_request.valid), ctx.get(dut.o_request.p.n),
                         ctx.get(dut.i_request[0].ready), ctx.get(dut.i_request[1].ready)))
            await ctx.tick()
            ctx.set(dut.i_request[0].payload, first)
            ctx.set(dut.i_request[0].valid, 1)
            if cycle == 2:
                ctx.set(dut.i_request[1].valid, 0)

    simulate(dut, bench)
    assert seen == [(1, 6, 0, 0), (1, 6, 0, 0), (1, 6, 0, 1), (0, 5, 0, 0)]


def test_cycles_are_pinned():
    """Literals, because hardware and test both follow the model and would drift together."""
    assert arbitrate(UNIT, [Client(["mul", "div"]), Client(["add"], start=3), Client([])]) == [
        Grant(0, 0, 23), Grant(1, 24, 51), Grant(0, 52, 74)]
    assert RequestArbiterConfig().latency == 0
    assert RequestArbiterConfig(clients=4).longest_wait(UNIT) == 155


def test_a_fixed_priority_is_noticed(monkeypatch):
    monkeypatch.setattr(RequestArbiter, "turn",
                        staticmethod(lambda m, offered, owner: offered & -offered))
    with pytest.raises(AssertionError):
        test_nobody_waits_longer_than_stated()


def test_a_payload_of_two_clients_is_noticed(monkeypatch):
    select = RequestArbiter.select
    monkeypatch.setattr(RequestArbiter, "select", lambda self, grant: select(self, grant | 1))
    with pytest.raises(AssertionError):
        test_each_client_gets_its_own_results([5, 4], 0.0)


@pytest.mark.parametrize("clients", [0, 17])
def test_config_refuses(clients):
    with pytest.raises(ValueError, match=f"^clients must be .* not {clients}$"):
        RequestArbiterConfig(clients=clients)
