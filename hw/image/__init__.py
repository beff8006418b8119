# SPDX-License-Identifier: Apache-2.0
"""The memory image: weights, gains, tables and program behind one port."""
