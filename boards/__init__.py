# SPDX-License-Identifier: Apache-2.0
"""Boards: one small file per board that places the accelerator on its pins."""
