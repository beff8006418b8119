# SPDX-License-Identifier: Apache-2.0
"""CUDA kernels, compiled on the user's machine, that give the exact model's integers."""
