# SPDX-License-Identifier: Apache-2.0
"""A whole token of the exact model on the GPU, in integers; ``docs/gpu.md`` describes it."""
