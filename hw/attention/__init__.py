# SPDX-License-Identifier: Apache-2.0
"""Attention of a decoder over a quantised KV cache."""
