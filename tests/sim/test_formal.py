# SPDX-License-Identifier: Apache-2.0
import pytest
from amaranth import *

from sim.formal import Properties, mutated, prove
from sim.formal_bus import PROOFS as BUS_PROOFS
from sim.formal_cache import PROOFS as CACHE_PROOFS
from sim.formal_control import PROOFS as CONTROL_PROOFS
from sim.formal_kv import PROOFS as PART_PROOFS

PROOFS = (*PART_PROOFS, *CACHE_PROOFS)
EVERY = (*PROOFS, *BUS_PROOFS, *CONTROL_PROOFS)
BY_NAME = {proof.name: proof for proof in PROOFS}


def counter(limit):
    """Return the design of a counter that starts again at `limit`."""
    def design(p):
        count = Signal(4)
        with p.m.If(p.anything(1, "enable")):
            p.m.d.sync += count.eq(Mux(count == limit, 0, count + 1))
        p.check("small", count <= 9)
    return design


def test_what_always_holds_is_proved_and_what_does_not_is_not():
    assert prove(counter(9))
    assert not prove(counter(10))


def test_assumptions_count():
    def design(limit):
        def fill(p):
            value, total = p.anything(2, "value"), Signal(3)
            p.assume(value < 2)
            p.m.d.sync += total.eq(total[:1] + value)
            p.check("small", total <= limit)
        return fill

    assert prove(design(2))
    assert not prove(design(1))


def test_every_property_has_its_bug():
    for proof in PROOFS:
        properties = Properties()
        proof.design(properties)
        assert set(properties.names) == set(proof.bugs)


@pytest.mark.parametrize("proof", EVERY, ids=lambda proof: proof.name)
def test_every_bug_can_be_planted(proof):
    """Also where the proof itself is a slow one."""
    for bug in proof.bugs.values():
        with mutated(*bug):
            pass


@pytest.mark.parametrize("name", ["row walk", "bank"])
def test_proofs_hold(name):
    assert prove(BY_NAME[name].design, engine=BY_NAME[name].engine)


@pytest.mark.parametrize("name", ["row walk", "bank"])
def test_a_planted_bug_breaks_the_proof(name):
    bug = next(iter(BY_NAME[name].bugs))
    with mutated(*BY_NAME[name].bugs[bug]):
        assert not prove(BY_NAME[name].design, only=bug)


def test_a_bug_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"^hw\.kv\.bank must have"), \
            mutated("hw.kv.bank", "no such text", ""):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(("name", "only"), [
    ("slot table", None), ("decoder of 16 bits", None), ("cache's addresses", None),
    *(("cache", only) for only in BY_NAME["cache"].bugs)])
def test_longer_proofs_hold(name, only):
    assert prove(BY_NAME[name].design, only=only, engine=BY_NAME[name].engine, seconds=300)
