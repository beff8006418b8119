# SPDX-License-Identifier: Apache-2.0
"""Memories behind one component."""
