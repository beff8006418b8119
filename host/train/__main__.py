# SPDX-License-Identifier: Apache-2.0
"""``python -m host.train``."""

from host.train.cli import app

app()
