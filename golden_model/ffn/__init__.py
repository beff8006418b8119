# SPDX-License-Identifier: Apache-2.0
"""The gated feed-forward product."""
