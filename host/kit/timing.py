# SPDX-License-Identifier: Apache-2.0
"""Port timing of one configuration, from the cycle models that the RTL equals."""

from golden_model.bus import axi_lite, wishbone
from golden_model.bus.axi_read import AxiRead, Beat, Inputs
from golden_model.bus.control import Control
from golden_model.bus.control import Inputs as ControlInputs
from golden_model.bus.register_file import Access
from golden_model.bus_config import AxiReadConfig, ControlConfig
from golden_model.config import ArrayConfig
from golden_model.mac.ternary_array import ArrayCycles, array_cycles
from golden_model.mac.tile_loader import Command
from golden_model.registers import register
from host.kit.waves import Value

__all__ = ["array_waves", "control_waves", "read_waves", "stream_waves"]

Waves = dict[str, list[Value]]

MOST_CYCLES = 64
"""Cycles of an access after which it counts as hung."""


def stream_waves() -> Waves:
    """Two transfers of any stream: `ready` comes late, then `valid`."""
    return {"valid": [False, True, True, True, False, True],
            "ready": [False, False, False, True, True, True],
            "payload": [None, "A", "A", "A", None, "B"],
            "transfer": [False, False, False, True, False, True]}


def array_waves(config: ArrayConfig) -> Waves:
    """One command of one block of two tiles, everything offered at once."""
    model, tiles = ArrayCycles(config), 2
    command: Command | None = Command(blocks=1, tiles=tiles, digits=1, reuse=False)
    sent = {"x": 0, "w": 0}
    waves: Waves = {name: [] for name in (
        "i_cmd.valid", "i_cmd.ready", "i_x.valid", "i_x.ready", "i_w.valid", "i_w.ready",
        "o.valid", "o.payload")}
    for _ in range(array_cycles(config, config.rows, tiles * config.lanes)):
        offers = {name: count < tiles for name, count in sent.items()}
        seen = model.step(command, offers["x"], offers["w"], True)
        row: list[Value] = [command is not None, seen.cmd_ready, offers["x"], seen.x_ready,
                            offers["w"], seen.w_ready, seen.o_valid,
                            "sums" if seen.o_valid else None]
        for values, value in zip(waves.values(), row, strict=True):
            values.append(value)
        if seen.cmd_ready:
            command = None
        sent["x"] += offers["x"] and seen.x_ready
        sent["w"] += offers["w"] and seen.w_ready
    return waves


def read_waves(config: AxiReadConfig) -> Waves:
    """Return a burst of four beats from a memory that answers two cycles after the address.

    It begins in the cycle ahead of the address.
    """
    model, beats, answer = AxiRead(config), 4, 2
    command: tuple[int, int] | None = (0, beats)
    waves: Waves = {name: [] for name in ("arvalid", "arready", "arlen", "rvalid", "rready",
                                          "rdata", "rlast")}
    asked, sent = None, 0
    for cycle in range(MOST_CYCLES):
        if model.ar is not None and asked is None:
            asked = cycle
        valid = asked is not None and sent < beats and cycle >= asked + answer
        row: list[Value] = [model.ar is not None, True,
                            None if model.ar is None else str(model.ar.length - 1), valid,
                            not model.filling, f"D{sent}" if valid else None,
                            sent == beats - 1 if valid else None]
        for values, value in zip(waves.values(), row, strict=True):
            values.append(value)
        now = Inputs(command=command, ar_ready=True, ready=True,
                     r=Beat(sent, sent == beats - 1) if valid else None)
        command = None if model.ready(now) else command
        sent += valid
        model.step(now)
        if sent == beats:
            start = (asked or 1) - 1
            return {name: values[start:] for name, values in waves.items()}
    raise ValueError("a burst has no answer")


def control_waves(config: ControlConfig) -> dict[str, Waves]:
    """Return a write of CONTROL and a read of ID, by kind, on the bus that is configured."""
    accesses = {
        "write": Access(register("control").offset, True, 1),
        "read": Access(register("id").offset),
    }
    wave = _axi_lite_waves if config.bus == "axi_lite" else _wishbone_waves
    return {kind: wave(config, access) for kind, access in accesses.items()}


def _axi_lite_waves(config: ControlConfig, access: Access) -> Waves:
    model, now = Control(config), ControlInputs()
    slave = model.slave
    if not isinstance(slave, axi_lite.AxiLite):
        raise ValueError(f"bus must be axi_lite, not {config.bus}")
    offset, data = f"{access.offset:03x}", f"{access.data:x}"
    names = (("awvalid", "awready", "awaddr", "wvalid", "wready", "wdata", "bvalid", "bready",
              "bresp") if access.write else
             ("arvalid", "arready", "araddr", "rvalid", "rready", "rdata"))
    waves: Waves = {name: [] for name in names}
    offered = True
    for _ in range(MOST_CYCLES):
        answer = slave.b if access.write else slave.r
        answered = answer is not None
        row: list[Value] = [offered, (slave.aw if access.write else slave.ar) is None,
                            offset if offered else None]
        if access.write:
            row += [offered, slave.w is None, data if offered else None]
        row += [answered, True]
        if answered and not access.write and slave.r is not None:
            row.append(f"{slave.r[0]:x}")
        elif answered:
            row.append("OKAY" if slave.b == axi_lite.OKAY else "ERR")
        else:
            row.append(None)
        for values, value in zip(waves.values(), row, strict=True):
            values.append(value)
        if answered:
            return waves
        write = offered and access.write
        model.step(axi_lite.Inputs(
            aw=access.offset if write else None,
            w=(access.data, access.strobe) if write else None,
            ar=access.offset if offered and not access.write else None,
            b_ready=True, r_ready=True), now)
        offered = False  # an empty channel takes what it is offered
    raise ValueError("an access has no answer")


def _wishbone_waves(config: ControlConfig, access: Access) -> Waves:
    model, now = Control(config), ControlInputs()
    slave = model.slave
    if not isinstance(slave, wishbone.Wishbone):
        raise ValueError(f"bus must be a Wishbone bus, not {config.bus}")
    word = f"{access.offset // 4:03x}"
    data_name = "dat_w" if access.write else "dat_r"
    waves: Waves = {name: [] for name in ("cyc", "stb", "we", "adr", "stall", "ack", data_name)}
    strobe = True
    for _ in range(MOST_CYCLES):
        answer = slave.answer
        shown: Value = None
        if access.write and strobe:
            shown = f"{access.data:x}"
        elif not access.write and answer is not None:
            shown = f"{answer.data:x}"
        row: list[Value] = [True, strobe, access.write if strobe else None,
                            word if strobe else None, slave.stall, answer is not None, shown]
        for values, value in zip(waves.values(), row, strict=True):
            values.append(value)
        if answer is not None:
            return waves
        taken = slave.pipelined and strobe and not slave.stall
        model.step(wishbone.Inputs(cyc=True, access=access if strobe else None), now)
        strobe = strobe and not taken
    raise ValueError("an access has no answer")
