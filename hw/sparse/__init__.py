# SPDX-License-Identifier: Apache-2.0
"""The sparse INT8 path: selection, compaction, products that fetch only what counts."""
