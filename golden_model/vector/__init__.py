# SPDX-License-Identifier: Apache-2.0
"""Elementwise work on one token's vector: rotary embedding and residual addition."""
