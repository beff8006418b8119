# SPDX-License-Identifier: Apache-2.0
"""Property tests without a time limit for each example: a loaded machine is no failure."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
