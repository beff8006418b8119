# SPDX-License-Identifier: Apache-2.0
"""The LM head: from ternary sums to a token."""
