# SPDX-License-Identifier: Apache-2.0
"""Ways in which a link fails."""

from host.errors import TritforgeError

__all__ = ["DeviceRefusedError", "IdentityError", "LinkError", "LinkTimeoutError", "PortError",
           "SessionLostError"]


class LinkError(TritforgeError):
    """The link, or what answers at its other end, cannot be relied on."""


class PortError(LinkError):
    """The port cannot be opened, or is gone."""


class LinkTimeoutError(LinkError):
    """Nothing that fits came back, however often the command was sent."""


class SessionLostError(LinkError):
    """The device no longer knows of this session: it restarted, or another host took it."""


class DeviceRefusedError(LinkError):
    """The device answered that it cannot do this: a register that is not there, a bad length."""


class IdentityError(LinkError):
    """What answers is not the accelerator that was expected."""
