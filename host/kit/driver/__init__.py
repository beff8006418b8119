# SPDX-License-Identifier: Apache-2.0
"""The C driver beside the Verilog, and the header of one configuration."""

from pathlib import Path

from golden_model.instruction_config import HEADER, HEADER_BITS, MAGIC

__all__ = ["driver_files"]

SOURCES = ("tritforge.h", "tritforge.c")
CONFIG_HEADER = "tritforge_config.h"
CHECKED = ("magic", "crc", "beats", "config_hash")
"""Fields of an image's header that the driver reads."""


def _config_header(name: str, config_hash: str, clock_mhz: float) -> str:
    offsets, bits = {}, 0
    for field, width in HEADER.items():
        offsets[field] = bits // 8
        if field in CHECKED and bits % 8:
            raise ValueError(f"{field} of the image's header starts inside a byte, at bit {bits}")
        bits += width
    return "\n".join([
        "/* SPDX-License-Identifier: Apache-2.0 */",
        "/* What this hardware was generated with, and where an image's header says so. */",
        "#ifndef TRITFORGE_CONFIG_H", "#define TRITFORGE_CONFIG_H", "",
        f'#define TRITFORGE_CONFIG_NAME "{name}"',
        f"#define TRITFORGE_CONFIG_HASH 0x{config_hash}ull",
        f"#define TRITFORGE_CLOCK_HZ {round(clock_mhz * 1e6)}u", "",
        f"#define TRITFORGE_IMAGE_MAGIC 0x{MAGIC:08x}u",
        f"#define TRITFORGE_IMAGE_HEADER_BYTES {-(-HEADER_BITS // 8)}u",
        *(f"#define TRITFORGE_IMAGE_{field.upper()}_BYTE {offsets[field]}u" for field in CHECKED),
        "", "#endif /* TRITFORGE_CONFIG_H */", ""])


def driver_files(name: str, config_hash: str, clock_mhz: float) -> dict[str, str]:
    """Return the text of every file by name, but for the registers' header.

    Parameters
    ----------
    name, config_hash, clock_mhz
        Of the configuration; its hash has 16 hexadecimal digits.
    """
    here = Path(__file__).parent
    return {**{file: (here / file).read_text(encoding="utf-8") for file in SOURCES},
            CONFIG_HEADER: _config_header(name, config_hash, clock_mhz)}
