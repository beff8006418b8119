// SPDX-License-Identifier: Apache-2.0
// Memories of an ECP5's LUTs that have fewer than sixteen words.  Address bits that are always zero
// follow the lowest one instead: the words lie elsewhere in the sixteen, reads and writes agree, and
// nextpnr has no zero to bring to each of those inputs.

(* techmap_celltype = "TRELLIS_DPR16X4" *)
module spare_addresses (DI, WAD, WRE, WCK, RAD, DO);
  parameter WCKMUX = "WCK";
  parameter WREMUX = "WRE";
  parameter [63:0] INITVAL = 64'h0000000000000000;
  parameter [3:0] _TECHMAP_CONSTMSK_WAD_ = 0;
  parameter [3:0] _TECHMAP_CONSTVAL_WAD_ = 0;
  parameter [3:0] _TECHMAP_CONSTMSK_RAD_ = 0;
  parameter [3:0] _TECHMAP_CONSTVAL_RAD_ = 0;
  input [3:0] DI, WAD, RAD;
  input WRE, WCK;
  output [3:0] DO;

  localparam [3:0] ZERO = _TECHMAP_CONSTMSK_WAD_ & ~_TECHMAP_CONSTVAL_WAD_
                          & _TECHMAP_CONSTMSK_RAD_ & ~_TECHMAP_CONSTVAL_RAD_;
  // What a memory starts with would have to move too, were it not zero everywhere.
  wire _TECHMAP_FAIL_ = ZERO == 0 || ZERO[0] || (|INITVAL) === 1'b1;

  wire [3:0] wad, rad;
  genvar k;
  generate for (k = 0; k < 4; k = k + 1)
    if (ZERO[k]) begin
      assign wad[k] = WAD[0];
      assign rad[k] = RAD[0];
    end else begin
      assign wad[k] = WAD[k];
      assign rad[k] = RAD[k];
    end
  endgenerate

  TRELLIS_DPR16X4 #(.WCKMUX(WCKMUX), .WREMUX(WREMUX), .INITVAL(64'h0)) _TECHMAP_REPLACE_ (
    .DI(DI), .WAD(wad), .WRE(WRE), .WCK(WCK), .RAD(rad), .DO(DO));
endmodule
