# SPDX-License-Identifier: Apache-2.0
"""No reader may hang; a loaded machine is no failure."""

from hypothesis import settings

from tests.host.deadline import deadline

__all__ = ["deadline"]

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
