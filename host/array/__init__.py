# SPDX-License-Identifier: Apache-2.0
"""The ternary array as a service: one matrix product at a time, the rest on the host."""
