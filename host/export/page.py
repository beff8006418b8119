# SPDX-License-Identifier: Apache-2.0
"""The register table as one HTML page that needs nothing else."""

from collections.abc import Iterator
from html import escape

from golden_model.registers import REGISTERS, Register
from host.export.table import ACCESS_WORDS, bits, summary, version

__all__ = ["page"]

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
       color: #1c1c1c; background: #fff; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 2rem; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ccc;
         vertical-align: top; }
td:first-child, code { font-family: ui-monospace, monospace; white-space: nowrap; }
h2 { margin: 2rem 0 0; font-size: 1.15rem; }
p { margin: .2rem 0; }
@media (prefers-color-scheme: dark) {
  body { color: #e6e6e6; background: #161616; } th, td { border-color: #444; }
  a { color: #8ab4f8; }
}
"""


def _rows(register: Register) -> Iterator[str]:
    for field in reversed(register.fields):
        yield (f"<tr><td>{bits(field.low, field.bits)}</td><td><code>{escape(field.name)}</code>"
               f"</td><td>{field.reset:#x}</td><td>{escape(field.description)}</td></tr>")


def _section(register: Register) -> str:
    fault = f"  Fault: <code>errors.{register.fault}</code>." if register.fault else ""
    return "\n".join([
        f'<h2 id="{register.name}">{register.offset:#05x} <code>{register.name}</code></h2>',
        f"<p>{escape(summary(register))}{fault}</p>",
        f"<p>{ACCESS_WORDS[register.access].capitalize()}; reset {register.reset:#010x}.</p>",
        "<table><thead><tr><th>Bits</th><th>Field</th><th>Reset</th><th>Meaning</th></tr></thead>",
        "<tbody>", *_rows(register), "</tbody></table>"])


def page() -> str:
    """Return the page's text."""
    index = [f'<tr><td>{one.offset:#05x}</td><td><a href="#{one.name}"><code>{one.name}</code></a>'
             f"</td><td>{one.access}</td><td>{escape(summary(one))}</td></tr>"
             for one in REGISTERS]
    return "\n".join([
        "<!doctype html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<title>Tritforge registers</title>", f"<style>{STYLE}</style>", "</head>", "<body>",
        "<h1>Tritforge registers</h1>",
        f"<p>Table {version()}; words of 32 bits.  Bits that no field has read as 0.</p>",
        "<table><thead><tr>",
        "<th>Offset</th><th>Name</th><th>Access</th><th>Purpose</th></tr></thead>",
        "<tbody>", *index, "</tbody></table>",
        *(_section(one) for one in REGISTERS), "</body>", "</html>", ""])
