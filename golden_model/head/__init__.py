# SPDX-License-Identifier: Apache-2.0
"""Golden models of the LM head's units."""
