# SPDX-License-Identifier: Apache-2.0
"""Products on an array: the integers of the exact model, over a link too, or a clear refusal."""

from dataclasses import replace

import numpy as np
import pytest

from golden_model.config import ArrayConfig, ModelShape, Numerics
from golden_model.exact import ExactDecoder
from golden_model.head_config import PLANES
from golden_model.weights import random_weights
from host.array.registers import OFFSET, ArrayBus
from host.array.remote import RemoteArray
from host.array.service import ArrayError, ArrayRefusedError, Bank, ModelEngine
from host.array.simulated import SimulatedEngine
from host.backends.array import ArrayBackend, planes_of
from host.backends.base import BackendError
from host.backends.cpu import CpuBackend
from host.backends.session import Session
from host.link.errors import DeviceRefusedError
from host.link.link import Link
from hw.mac.ternary_array import TernaryArray
from tests.host.link.harness import QUICK, Bench
from tests.mutants import mutant

CONFIG = ArrayConfig(rows=2, lanes=8, max_k=40, max_m=60)
SHAPE = ModelShape(vocab=19, hidden=16, ffn=24, layers=1, heads=2, kv_heads=1, head_dim=8,
                   context=24)
WEIGHTS = random_weights(SHAPE, Numerics(), 212)
PROMPT, COUNT = [0, 7, 3], 5


def golden(weights=WEIGHTS, window=16):
    return list(ExactDecoder(weights, window=window).generate(PROMPT, COUNT))


def cases(digits, seed=0):
    rng = np.random.default_rng(seed)
    peak = 128 if digits == 2 else 8
    for rows, columns in ((1, 1), (2, 8), (3, 9), (60, 40), (7, 39), (59, 1)):
        trits = rng.integers(-1, 2, (rows, columns)).astype(np.int8)
        codes = rng.integers(-peak, peak, columns).astype(np.int8)
        yield trits, codes
        yield np.full_like(trits, -1), np.full_like(codes, -peak)


class Forgetting:
    """An engine for products that nobody computes."""

    config = CONFIG

    def run(self, matrix, codes, digits):
        raise AssertionError("it was sent")

    def close(self):
        pass


def remote(bank):
    bench = Bench(make=lambda: ArrayBus(bank))
    return bench


@pytest.mark.parametrize("packing", ["base3", "2bit"])
@pytest.mark.parametrize("digits", [1, 2])
def test_products_of_the_model_here_and_over_a_terminal(digits, packing):
    config = replace(CONFIG, packing=packing)
    bank = Bank(ModelEngine(config))
    with remote(bank) as bench:
        far = RemoteArray(bench.link(QUICK), config)
        for service in (Bank(ModelEngine(config)), far):
            for trits, codes in cases(digits):
                wanted = trits.astype(np.int64) @ codes.astype(np.int64)
                found = service.multiply(service.place(trits), codes, digits)
                assert found.tolist() == wanted.tolist()
        assert bank.products == 12
        far.close()


@pytest.mark.cocotb
def test_products_of_the_verilated_array_and_a_text():
    bank = Bank(SimulatedEngine(CONFIG))
    for digits in (1, 2):
        for trits, codes in cases(digits, 3):
            wanted = trits.astype(np.int64) @ codes.astype(np.int64)
            assert bank.multiply(bank.place(trits), codes, digits).tolist() == wanted.tolist()
    backend = ArrayBackend(lambda: bank)
    assert list(Session(WEIGHTS, [backend], 16).generate(PROMPT, COUNT)) == golden()
    assert set(backend.placement.values()) == {"array"}
    products = 7 * SHAPE.layers + PLANES
    assert bank.products == 24 + products * (len(PROMPT) + COUNT - 1)
    backend.close()


@pytest.mark.cocotb
@pytest.mark.slow
def test_a_broken_array_is_seen():
    broken = mutant(TernaryArray, "beat.p.tag.last.eq(last_digit & last_tile)",
                    "beat.p.tag.last.eq(last_digit & (last_tile | (tile == 1)))")
    bank = Bank(SimulatedEngine(CONFIG, make=broken))
    trits, codes = list(cases(1))[6]
    wanted = trits.astype(np.int64) @ codes.astype(np.int64)
    try:
        assert bank.multiply(bank.place(trits), codes, 1).tolist() != wanted.tolist()
    except ArrayError:
        pass
    finally:
        bank.close()


def test_logits_and_states_are_the_cpus_over_a_terminal():
    with remote(Bank(ModelEngine(CONFIG))) as bench:
        backend = ArrayBackend(lambda: RemoteArray(bench.link(QUICK), CONFIG))
        backend.load(WEIGHTS, 16)
        cpu = CpuBackend()
        cpu.load(WEIGHTS, 16)
        assert backend.prefill(PROMPT) == cpu.prefill(PROMPT)
        assert backend.logits().values.tolist() == cpu.logits().values.tolist()
        cpu.restore(backend.save())
        assert backend.decode(4) == cpu.decode(4)
        backend.close()


def test_planes_make_up_the_weights():
    codes = np.arange(-13, 14, dtype=np.int8).reshape(3, 9)
    top, middle, low = planes_of(codes)
    assert (9 * top.astype(int) + 3 * middle + low).tolist() == codes.tolist()
    assert {*np.unique(top), *np.unique(middle), *np.unique(low)} == {-1, 0, 1}


@pytest.mark.parametrize(("trits", "codes", "digits", "message"), [
    (np.zeros((61, 4)), None, 1, r"61 rows, the array takes 1 to 60 \(array.max_m\)"),
    (np.zeros((4, 41)), None, 1, r"41 columns, the array takes 1 to 40 \(array.max_k\)"),
    (np.zeros((4, 4)), np.zeros(5), 1, "4 codes are wanted"),
    (np.zeros((4, 4)), np.full(4, 16), 1, r"must lie in -16..15, not 16..16"),
    (np.zeros((4, 4)), np.zeros(4), 3, r"3 digits an activation, the array takes 1 to 2"),
])
def test_what_is_beyond_the_limits_is_refused_unsent(trits, codes, digits, message):
    with remote(Bank(Forgetting())) as bench:
        for service in (Bank(Forgetting()), RemoteArray(bench.link(QUICK), CONFIG)):
            def product(service=service):
                number = service.place(trits.astype(np.int8))
                return service.multiply(number, codes.astype(np.int8), digits)

            with pytest.raises(ArrayRefusedError, match=message):
                product()
            with pytest.raises(ArrayRefusedError, match="never placed"):
                service.multiply(7, np.zeros(4, np.int8), 1)


def test_a_product_beyond_the_limits_stays_on_the_host_with_a_reason():
    notices = []
    small = replace(CONFIG, max_k=16)
    backend = ArrayBackend(lambda: Bank(ModelEngine(small)), notices.append)
    assert list(Session(WEIGHTS, [backend], 16).generate(PROMPT, COUNT)) == golden()
    (notice,) = notices
    assert notice == ("layers.0.down stays on the host: the product has 24 columns, the array "
                      "takes 1 to 16 (array.max_k)")
    none = ArrayBackend(lambda: Bank(ModelEngine(replace(CONFIG, max_m=4, max_k=8))))
    with pytest.raises(BackendError, match="takes none of the model's products"):
        none.load(WEIGHTS, 16)
    narrow = replace(CONFIG, digit_bits=4, acc_bits=24)
    fp4 = random_weights(SHAPE, Numerics(act_format="fp4"), 3)
    with pytest.raises(BackendError, match="fp4 has codes up to 12, the array takes up to 8"):
        ArrayBackend(lambda: Bank(ModelEngine(narrow))).load(fp4, 16)


def test_an_array_that_is_lost_costs_no_token():
    notices = []
    with remote(Bank(ModelEngine(CONFIG))) as bench:
        backend = ArrayBackend(lambda: RemoteArray(bench.link(QUICK), CONFIG))
        session = Session(WEIGHTS, [backend, CpuBackend()], 16, notice=notices.append)
        tokens = []
        for token in session.generate(PROMPT, COUNT):
            tokens.append(token)
            if len(tokens) == 2:
                bench.device.restart(bench.fresh)
        session.close()
    assert tokens == golden()
    assert "does not know of this session" in notices[0]


def test_who_answers_is_asked_first():
    with remote(Bank(ModelEngine(CONFIG))) as bench:
        other = RemoteArray(bench.link(QUICK), replace(CONFIG, lanes=16))
        with pytest.raises(ArrayError, match="built for another"):
            other.place(np.zeros((2, 2), np.int8))
    with Bench() as bench:
        with pytest.raises(ArrayError, match="no array"):
            RemoteArray(bench.link(QUICK), CONFIG).place(np.zeros((2, 2), np.int8))


def test_a_far_end_that_is_asked_for_nonsense_refuses():
    bank = Bank(ModelEngine(CONFIG))
    with remote(bank) as bench:
        link: Link = bench.link(QUICK)
        link.connect()
        for address in (1, OFFSET["waiting"] + 4, 1 << 12):
            with pytest.raises(DeviceRefusedError):
                link.command(2, address.to_bytes(2, "little") + b"\1\0")
        service = RemoteArray(link, CONFIG)
        for command in ("place", "multiply"):
            service._write("rows", [500, 500, 7, 9])
            with pytest.raises(ArrayRefusedError, match=f"refuses to {command}"):
                service._control(command)
