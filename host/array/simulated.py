# SPDX-License-Identifier: Apache-2.0
"""The array that ``tritforge verilog`` writes, Verilated, one product at a time."""

from collections import deque
from collections.abc import Callable
from typing import Any

from golden_model.arrays import Codes, Ints
from golden_model.config import ArrayConfig
from golden_model.mac.ternary_array import array_cycles, command_for, tile_activations
from host.array.service import ArrayError, Placed

__all__ = ["SimulatedEngine"]

PATIENCE = 1_000
"""Cycles beyond the cycle model's after which the array counts as hung."""


class SimulatedEngine:
    """See :class:`hw.mac.ternary_array.TernaryArray` and :class:`sim.compiled.CompiledModel`.

    Parameters
    ----------
    report
        Told what is under way while it is built.
    make
        Makes the component; for another one in the array's place.

    Raises
    ------
    ArrayError
        The simulator is missing, or the array cannot be built.
    """

    def __init__(self, config: ArrayConfig, report: Callable[[str], None] = lambda _: None,
                 make: Callable[[ArrayConfig], Any] | None = None) -> None:
        try:
            from hw.mac.ternary_array import TernaryArray
            from sim.compiled import CompiledModel
            from sim.runner import MissingTool, SimulationFailed
        except ImportError as error:
            raise ArrayError(f"{error}: `tritforge doctor` says how to mend it") from error

        self.config = config
        self.cycles = 0
        """Clock cycles of all products."""
        try:
            self._model: Any = CompiledModel((make or TernaryArray)(config), report=report)
        except (MissingTool, SimulationFailed) as error:
            raise ArrayError(str(error)) from error

    def run(self, matrix: Placed, codes: Codes, digits: int) -> Ints:
        """Return the sums [M] of a product within the limits."""
        from hw.mac import layouts
        from sim.packing import lanes, pack, to_lanes

        config, model = self.config, self._model
        command = command_for(config, matrix.rows, matrix.columns, digits)
        layout = layouts.command(config)
        fields = {name: int(getattr(command, name)) for name in layout.members}
        mask = (1 << config.unpacker.packed_bits) - 1
        queues = {
            "i_cmd": deque([pack(layout, fields)]),
            "i_x": deque(lanes(tile_activations(config, codes, digits), config.digit_bits)),
            "i_w": deque(beat & mask for beat in matrix.beats)}
        limit = array_cycles(config, matrix.rows, matrix.columns, digits) + PATIENCE
        words: list[int] = []
        model.set("o__ready", 1)
        for name, queue in queues.items():
            model.set(f"{name}__payload", queue[0])
            model.set(f"{name}__valid", 1)
        for _ in range(limit):
            taken = [name for name, queue in queues.items()
                     if queue and model.get(f"{name}__ready")]
            if model.get("o__valid"):
                words.append(model.get("o__payload"))
            model.tick()
            self.cycles += 1
            for name in taken:
                queue = queues[name]
                queue.popleft()
                if queue:
                    model.set(f"{name}__payload", queue[0])
                else:
                    model.set(f"{name}__valid", 0)
            if len(words) == command.blocks:
                break
        else:
            raise ArrayError(f"the simulated array gave {len(words)} of {command.blocks} results "
                             f"in {limit} cycles")
        model.set("o__ready", 0)
        sums: Ints = to_lanes(words, config.rows, config.acc_bits).reshape(-1)[:matrix.rows]
        return sums

    def close(self) -> None:
        """Free the simulation."""
        self._model.close()
