# SPDX-License-Identifier: Apache-2.0
"""RoPE, integer softmax and attention over quantised KV rows."""
