# SPDX-License-Identifier: Apache-2.0
"""One synchronous memory: block RAM that synthesis infers, or a foundry's macro."""

from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from golden_model.memory_config import SPRAM_WIDTH, SramConfig

__all__ = ["Sram", "macro_model"]


class Sram(wiring.Component):
    """Words that are read a cycle after they are asked for.

    ``r_data`` holds its word until the next read.  What a word holds before it is first written,
    and what a read in the same cycle as a write to its address gives, is not defined.  With one
    port for both (``config.ports`` is ``1rw``) ``r_en`` and ``w_en`` must not be high together;
    if they are, the write is done and the read is not.

    ``config.cells == "spram"`` takes the large single-port memories of an iCE40 UP5K, which yosys
    does not infer from memories with a defined content.  With ``"macro"`` the memory is
    an instance of module ``config.macro``, for which the flow provides a foundry's memory in a
    wrapper with the ports of `macro_model`.

    Members
    -------
    r_en, r_addr : In
    r_data : Out
        The word of the latest cycle with `r_en`.
    w_en, w_addr, w_data : In
    """

    def __init__(self, config: SramConfig):
        self.config = config
        self.cells = memory.Memory(shape=config.width, depth=config.depth, init=[],
                                   attrs={"ram_style": "block", "no_rw_check": 1})
        address = range(max(config.depth, 2))  # a port of no bits would be one of two in Verilog
        super().__init__({
            "r_en": In(1), "r_addr": In(address), "r_data": Out(config.width),
            "w_en": In(1), "w_addr": In(address), "w_data": In(config.width),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        if config.cells != "inferred":
            self.place(m)
            return m
        m.submodules.cells = cells = self.cells
        write, read = cells.write_port(), cells.read_port()
        m.d.comb += [write.en.eq(self.w_en), write.addr.eq(self.w_addr),
                     write.data.eq(self.w_data), read.addr.eq(self.r_addr),
                     self.r_data.eq(read.data), read.en.eq(self.r_en)]
        if config.ports == "1rw":
            # The same address for either: what tells synthesis that one port is enough.
            shared = Mux(self.w_en, self.w_addr, self.r_addr)
            m.d.comb += [write.addr.eq(shared), read.addr.eq(shared),
                         read.en.eq(self.r_en & ~self.w_en)]
        return m

    def place(self, m):
        """Connect black boxes."""
        config, clock = self.config, ClockSignal()
        if config.ports == "1r1w":
            m.submodules.cells = Instance(
                config.macro, i_clk=clock, i_r_en=self.r_en, i_r_addr=self.r_addr,
                o_r_data=self.r_data, i_w_en=self.w_en, i_w_addr=self.w_addr, i_w_data=self.w_data)
            return
        # What such a memory has on its output after a write is its own affair: keep the word.
        found, kept = Signal(config.width), Signal(config.width, reset_less=True)
        fresh = Signal()
        m.d.sync += fresh.eq(self.r_en & ~self.w_en)
        with m.If(fresh):
            m.d.sync += kept.eq(found)
        m.d.comb += self.r_data.eq(Mux(fresh, found, kept))
        address = Mux(self.w_en, self.w_addr, self.r_addr)
        if config.cells == "macro":
            m.submodules.cells = Instance(
                config.macro, i_clk=clock, i_en=self.r_en | self.w_en, i_we=self.w_en,
                i_addr=address, i_d=self.w_data, o_q=found)
            return
        for start in range(0, config.width, SPRAM_WIDTH):
            part = Signal(SPRAM_WIDTH, name=f"part_{start}")
            m.d.comb += found[start:start + SPRAM_WIDTH].eq(part)
            m.submodules[f"cells_{start}"] = Instance(
                "SB_SPRAM256KA", i_CLOCK=clock, i_CHIPSELECT=self.r_en | self.w_en,
                i_WREN=self.w_en, i_MASKWREN=C(15, 4), i_STANDBY=C(0, 1), i_SLEEP=C(0, 1),
                i_POWEROFF=C(1, 1), i_ADDRESS=(address | C(0, 14))[:14],
                i_DATAIN=(self.w_data[start:start + SPRAM_WIDTH] | C(0, SPRAM_WIDTH)),
                o_DATAOUT=part)


_MODEL_1R1W = """\
module {name}(input clk,
    input r_en, input [{top}:0] r_addr, output reg [{width}:0] r_data,
    input w_en, input [{top}:0] w_addr, input [{width}:0] w_data);
  reg [{width}:0] words [0:{last}];
  always @(posedge clk) begin
    if (w_en) words[w_addr] <= w_data;
    if (r_en) r_data <= words[r_addr];
  end
endmodule
"""

_MODEL_1RW = """\
module {name}(input clk, input en, input we,
    input [{top}:0] addr, input [{width}:0] d, output reg [{width}:0] q);
  reg [{width}:0] words [0:{last}];
  always @(posedge clk)
    if (en) begin
      if (we) words[addr] <= d;
      else q <= words[addr];
      if (we) q <= ~d;  // real ones keep it, write through, or show anything
    end
endmodule
"""


def macro_model(config: SramConfig):
    """Return Verilog of module ``config.macro``, for simulation."""
    text = _MODEL_1R1W if config.ports == "1r1w" else _MODEL_1RW
    return text.format(name=config.macro, last=config.depth - 1, width=config.width - 1,
                       top=max(config.depth - 1, 1).bit_length() - 1)
