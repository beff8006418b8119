# SPDX-License-Identifier: Apache-2.0
"""Top-K selection."""
