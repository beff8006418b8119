# SPDX-License-Identifier: Apache-2.0
"""Parameters of what shares one unit between several clients (standard library only)."""

from dataclasses import dataclass

from golden_model.config import _at_least, _require
from golden_model.quant_config import SmallFloatUnitConfig

__all__ = ["RequestArbiterConfig"]


@dataclass(frozen=True, kw_only=True)
class RequestArbiterConfig:
    """Geometry of the arbiter ahead of one small-float unit."""

    clients: int = 4

    def __post_init__(self) -> None:
        _at_least(self, clients=1)
        _require(self.clients <= 16, f"clients must be at most 16, not {self.clients}")

    @property
    def latency(self) -> int:
        """Cycles that a request or a response takes while nobody else is served."""
        return 0

    def longest_wait(self, unit: SmallFloatUnitConfig) -> int:
        """Most cycles from a request's offer to its transfer, if responses are taken at once.

        Every other client is served once at most, and one operation is under way.
        """
        return self.clients * (max(unit.latency.values()) + 1) - 1
