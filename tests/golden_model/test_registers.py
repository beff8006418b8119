# SPDX-License-Identifier: Apache-2.0
import pytest

from golden_model.registers import COUNTERS, ERRORS, REGISTERS, Field, Register, register

# A driver in the field relies on these; see the module's promise.
OFFSETS = {
    "id": 0x000, "version": 0x004, "config_hash_low": 0x008, "config_hash_high": 0x00C,
    "array": 0x010, "cache": 0x014, "memory": 0x018, "queues": 0x01C, "control": 0x020,
    "status": 0x024, "errors": 0x028, "irq_status": 0x02C, "irq_enable": 0x030,
    "watchdog_limit": 0x034, "error_address_low": 0x038, "error_address_high": 0x03C,
    "image_base_low": 0x040, "image_base_high": 0x044, "prompt_count": 0x048,
    "generate_count": 0x04C, "stop_token": 0x050, "kv_slot": 0x054, "sampling": 0x058,
    "seed": 0x05C, "prompt_token": 0x060, "generated_token": 0x064, "levels": 0x068,
    "position": 0x06C, "random_state": 0x070, "kv_control": 0x080, "kv_words": 0x084,
    "kv_save_data": 0x088, "kv_restore_data": 0x08C, "image_address": 0x090, "image_data": 0x094,
    "count_cycles": 0x100, "count_busy": 0x108,
    "count_stall_weights": 0x110, "count_stall_vector": 0x118, "count_stall_kv": 0x120,
    "count_stall_input": 0x128, "count_stall_output": 0x130, "count_weight_beats": 0x138,
    "count_tokens": 0x140, "count_ecc_corrected": 0x148,
}


def test_no_register_moves():
    for name, offset in OFFSETS.items():
        assert register(name).offset == offset
    high = {f"{name}_high" for name in OFFSETS if name.startswith("count_")}
    assert {one.name for one in REGISTERS} == {*OFFSETS, *high}


def test_a_counter_is_followed_by_its_high_word():
    for name, _ in COUNTERS:
        assert register(f"count_{name}_high").offset == register(f"count_{name}").offset + 4


def test_every_fault_is_an_error_and_every_queue_has_one():
    names = {name for name, _ in ERRORS}
    queues = [one for one in REGISTERS if one.kind in ("push", "pop")]
    assert {one.fault for one in queues} <= names
    assert all(one.fault for one in queues)
    assert [field.name for field in register("errors").fields] == [name for name, _ in ERRORS]


def test_access_and_reset():
    assert (register("errors").access, register("control").access) == ("w1c", "wo")
    assert register("watchdog_limit").reset == 1 << 20
    assert register("version").reset == 1 << 16 | 1
    with pytest.raises(KeyError):
        register("irq")


def field(low, bits=1, reset=0, name="x"):
    return Field(name=name, low=low, bits=bits, reset=reset, description="")


@pytest.mark.parametrize(("low", "bits", "reset"), [(-1, 1, 0), (32, 1, 0), (31, 2, 0), (0, 0, 0),
                                                    (0, 2, 4), (0, 2, -1)])
def test_a_field_lies_in_its_word(low, bits, reset):
    with pytest.raises(ValueError, match="must"):
        field(low, bits, reset)


@pytest.mark.parametrize("change", [
    {"offset": 2}, {"offset": 4096}, {"kind": "rw"}, {"fields": (field(0, 2), field(1, name="y"))},
    {"fields": (field(0), field(1))}])
def test_a_register_refuses(change):
    with pytest.raises(ValueError, match=r"."):
        Register(**{"name": "r", "offset": 0, "kind": "setting", "fields": (), "description": "",
                    **change})
