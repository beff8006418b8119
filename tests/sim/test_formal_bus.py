# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.formal import Properties, mutated, prove
from sim.formal_bus import PROOFS

LONGER = "AXI4 read master's beats"


def test_every_property_has_its_bug():
    for proof in PROOFS:
        properties = Properties()
        proof.design(properties)
        assert set(properties.names) == set(proof.bugs)


@pytest.mark.parametrize("proof", [
    pytest.param(proof, marks=[pytest.mark.slow] if proof.name == LONGER else [], id=proof.name)
    for proof in PROOFS])
def test_proofs_hold(proof):
    for only in proof.bugs if proof.apart else [None]:
        assert prove(proof.design, only=only)


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.name)
def test_planted_bugs_break_the_proofs(proof):
    for name, bug in proof.bugs.items():
        with mutated(*bug):
            assert not prove(proof.design, only=name), name
