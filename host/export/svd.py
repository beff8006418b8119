# SPDX-License-Identifier: Apache-2.0
"""The register table as CMSIS-SVD, which debuggers and driver generators read."""

from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from golden_model.registers import ADDRESS_BITS, REGISTERS, Register
from host.export.table import NAME, summary, version

__all__ = ["svd"]

ACCESS = {"ro": "read-only", "rw": "read-write", "w1c": "read-write", "wo": "write-only"}


def _add(parent: Element, **texts: object) -> None:
    """Append elements with text, in order: the schema wants one."""
    for tag, text in texts.items():
        SubElement(parent, tag).text = str(text)


def _register(parent: Element, register: Register) -> None:
    element = SubElement(parent, "register")
    _add(element, name=register.name.upper(), description=summary(register),
         addressOffset=f"{register.offset:#05x}", size=32, access=ACCESS[register.access],
         resetValue=f"{register.reset:#010x}")
    if register.access == "w1c":
        _add(element, modifiedWriteValues="oneToClear")
    if register.kind in ("pop", "counter"):
        # A debugger must not read these behind the driver's back.
        _add(element, readAction="modify")
    fields = SubElement(element, "fields")
    for field in register.fields:
        _add(SubElement(fields, "field"), name=field.name.upper(), description=field.description,
             bitOffset=field.low, bitWidth=field.bits)


def svd() -> str:
    """Return the text of an SVD file with one device of one peripheral at address 0."""
    device = Element("device", {"schemaVersion": "1.3",
                                "xmlns:xs": "http://www.w3.org/2001/XMLSchema-instance",
                                "xs:noNamespaceSchemaLocation": "CMSIS-SVD.xsd"})
    _add(device, name=NAME, version=version(),
         description="Accelerator of BitNet a4.8 language models", addressUnitBits=8, width=32,
         size=32, resetValue="0x00000000", resetMask="0xffffffff")
    peripheral = SubElement(SubElement(device, "peripherals"), "peripheral")
    _add(peripheral, name=NAME, version=version(), description="Control registers",
         baseAddress="0x00000000")
    _add(SubElement(peripheral, "addressBlock"), offset="0x0", size=f"{1 << ADDRESS_BITS:#x}",
         usage="registers")
    registers = SubElement(peripheral, "registers")
    for register in REGISTERS:
        _register(registers, register)
    ElementTree.indent(device)
    return ('<?xml version="1.0" encoding="utf-8"?>\n'
            + ElementTree.tostring(device, encoding="unicode") + "\n")
