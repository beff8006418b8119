# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.control.stage`."""

__all__ = ["StageSteps"]


class StageSteps:
    """Handshakes, cycle by cycle."""

    def __init__(self) -> None:
        self.valid = False
        """``o.valid`` in this cycle."""

    def ready(self, o_ready: bool) -> bool:
        """``i.ready`` in this cycle."""
        return o_ready or not self.valid

    def tick(self, i_valid: bool, o_ready: bool) -> None:
        """Go on to the next cycle."""
        if self.ready(o_ready):
            self.valid = i_valid
