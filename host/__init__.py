# SPDX-License-Identifier: Apache-2.0
"""What runs beside the hardware: configuration, generation, model files and the command line."""
