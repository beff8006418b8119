# SPDX-License-Identifier: Apache-2.0
"""From a model and a geometry to the memory image that the accelerator runs."""
