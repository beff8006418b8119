# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.formal import Properties, mutated, prove
from sim.formal_control import PROOFS


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.name)
def test_every_property_has_its_bug(proof):
    properties = Properties()
    proof.design(properties)
    assert set(properties.names) == set(proof.bugs)


@pytest.mark.slow
@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.name)
def test_proofs_hold(proof):
    assert prove(proof.design, seconds=300)


@pytest.mark.parametrize(("proof", "name"), [(proof, name) for proof in PROOFS
                                             for name in list(proof.bugs)[::3]])
def test_planted_bugs_break_the_proofs(proof, name):
    with mutated(*proof.bugs[name]):
        assert not prove(proof.design, only=name)
