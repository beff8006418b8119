# SPDX-License-Identifier: Apache-2.0
"""The exact decoder's cache, copied and put back."""

import numpy as np
import pytest

from golden_model.config import ModelShape, Numerics
from golden_model.exact import CacheState, ExactDecoder
from golden_model.weights import random_weights

SHAPE = ModelShape(vocab=23, hidden=16, ffn=20, layers=2, heads=4, kv_heads=2, head_dim=6,
                   context=20)
TOKENS = np.random.default_rng(2).integers(0, SHAPE.vocab, (2, 20))


def decoder(window=None, **switches):
    return ExactDecoder(random_weights(SHAPE, Numerics(**switches), 7), window=window)


@pytest.mark.parametrize("switches", [{}, {"kv_code": "symmetric"}, {"kv_code": "minmax"},
                                      {"bos_bits": 8},
                                      {"kv_bits": 16, "bos_bits": 16, "q_bits": 16}], ids=str)
@pytest.mark.parametrize("cut", [1, 7, 19])
@pytest.mark.parametrize("window", [None, 5])
def test_going_on_from_a_state_changes_nothing(switches, cut, window):
    whole = decoder(window, **switches).forward(TOKENS)
    first, second = decoder(window, **switches), decoder(window, **switches)
    first.forward(TOKENS[:, :cut])
    second.forward(TOKENS[:, :9][:, ::-1])  # whatever was there is gone
    state = first.state()
    first.forward(TOKENS[:, cut:])          # the state is a copy
    second.restore(state)
    assert second.position == cut
    assert np.array_equal(second.forward(TOKENS[:, cut:]), whole[:, cut:])


def test_a_state_of_one_sequence_goes_on_with_one():
    model = decoder()
    model.forward(TOKENS[0, :4])
    state = model.state()
    model.restore(state)
    with pytest.raises(ValueError, match="holds 1 sequences, not 2"):
        model.forward(TOKENS[:, 4:6])
    assert state.k.dtype == np.int64
    assert state.k.shape == (2, 1, 2, 4, 6)
    assert state.k_scale.shape == (2, 1, 2, 4)


def changed(state, name, value):
    array = getattr(state, name).copy()
    array[..., 1] = value
    return state._replace(**{name: array})


@pytest.mark.parametrize(("change", "message"), [
    (lambda s: changed(s, "k", 99), "steps"), (lambda s: changed(s, "v", -99), "steps"),
    (lambda s: changed(s, "k_scale", np.nan), "scale"),
    (lambda s: changed(s, "v_scale", -1.0), "scale"),
    (lambda s: changed(s, "v_scale", np.inf), "scale"),
    (lambda s: changed(s, "k_scale", 0.1), "scale"),
    (lambda s: CacheState(*(x[:1] for x in s)), "2 layers"),
    (lambda s: CacheState(*(x[:, :, :, :0] for x in s)), "positions"),
    (lambda s: CacheState(*(np.repeat(x, 9, axis=3) for x in s)), "positions"),
    (lambda s: s._replace(k=s.k[..., :5]), "keys and values"),
    (lambda s: s._replace(v_scale=s.v_scale[..., :1]), "keys and values"),
    (lambda s: s._replace(k_scale=s.k_scale[0]), "2 layers"),
])
def test_a_state_that_cannot_be_is_refused_and_nothing_is_lost(change, message):
    model = decoder()
    model.forward(TOKENS[0, :4])
    state = model.state()
    with pytest.raises(ValueError, match=message):
        model.restore(change(state))
    assert model.position == 4
    assert np.array_equal(model.state().k, state.k)


def test_there_is_no_state_ahead_of_the_first_token():
    with pytest.raises(ValueError, match="first token"):
        decoder().state()
