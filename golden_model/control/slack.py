# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.control.slack`."""

__all__ = ["SlackSteps"]


class SlackSteps:
    """Handshakes, cycle by cycle."""

    def __init__(self) -> None:
        self.waiting = False

    @property
    def ready(self) -> bool:
        """``i.ready`` in this cycle."""
        return not self.waiting

    def valid(self, i_valid: bool) -> bool:
        """``o.valid`` in this cycle."""
        return self.waiting or i_valid

    def tick(self, i_valid: bool, o_ready: bool) -> None:
        """Go on to the next cycle."""
        self.waiting = self.valid(i_valid) and not o_ready
