// SPDX-License-Identifier: Apache-2.0
// yosys' map of additions to carry cells of an ECP5, in place of its own: nextpnr puts a further
// cell ahead of every chain whose first carry is connected, be it to a constant, and one behind
// every chain whose last carry is.  Here the first half cell makes the first carry by itself, and
// the last carry shows in the sums; carry_ends.v then leaves both ends open.

(* techmap_celltype = "$alu" *)
module carry_chain (A, B, CI, BI, X, Y, CO);
  parameter A_SIGNED = 0;
  parameter B_SIGNED = 0;
  parameter A_WIDTH = 8;
  parameter B_WIDTH = 8;
  parameter Y_WIDTH = 8;
  parameter _TECHMAP_CONSTMSK_CI_ = 0;
  parameter _TECHMAP_CONSTVAL_CI_ = 0;
  parameter _TECHMAP_CONSTMSK_BI_ = 0;
  parameter _TECHMAP_CONSTVAL_BI_ = 0;
  (* force_downto *) input [A_WIDTH-1:0] A;
  (* force_downto *) input [B_WIDTH-1:0] B;
  input CI, BI;
  (* force_downto *) output [Y_WIDTH-1:0] X, Y, CO;

  wire _TECHMAP_FAIL_ = Y_WIDTH <= 4;

  localparam FIXED = _TECHMAP_CONSTMSK_CI_ && _TECHMAP_CONSTMSK_BI_;
  // The first half cell makes the carry into bit SKIP.
  localparam SKIP = FIXED && Y_WIDTH % 2 == 0;
  localparam CELLS = (Y_WIDTH + 2 - SKIP) / 2;
  localparam [3:0] FIRST = SKIP ? (_TECHMAP_CONSTVAL_BI_ ? (_TECHMAP_CONSTVAL_CI_ ? 4'hB : 4'h2)
                                   : (_TECHMAP_CONSTVAL_CI_ ? 4'hE : 4'h8)) : 4'hA;

  (* force_downto *) wire [Y_WIDTH-1:0] a, b, c;
  generate
    if (A_SIGNED) assign a = $signed(A); else assign a = A;
    if (B_SIGNED) assign b = $signed(B); else assign b = B;
  endgenerate
  assign X = a ^ b ^ {Y_WIDTH{BI}};

  // Half cells, from the least significant: their inputs and their sums.
  (* force_downto *) wire [2*CELLS-1:0] p = {1'b0, a[Y_WIDTH-1:SKIP], SKIP ? a[0] : CI};
  (* force_downto *) wire [2*CELLS-1:0] q = {1'b0, b[Y_WIDTH-1:SKIP], SKIP ? b[0] : 1'b1};
  (* force_downto *) wire [2*CELLS-1:0] s;
  wire [CELLS:0] chain;
  assign chain[0] = 1'b0;
  genvar k;
  generate for (k = 0; k < CELLS; k = k + 1) begin: cells
    (* carry = k == 0 ? "first" : k == CELLS - 1 ? "last" : "middle" *)
    CCU2C #(.INIT0(k == 0 ? {12'h000, FIRST} : 16'h96AA), .INIT1(16'h96AA),
            .INJECT1_0("NO"), .INJECT1_1("NO")) cell_ (
      .CIN(chain[k]), .COUT(chain[k+1]),
      .A0(p[2*k]), .B0(q[2*k]), .C0(k == 0 ? 1'b1 : BI), .D0(1'b1), .S0(s[2*k]),
      .A1(p[2*k+1]), .B1(q[2*k+1]), .C1(BI), .D1(1'b1), .S1(s[2*k+1]));
  end endgenerate
  assign Y = SKIP ? {s[Y_WIDTH-1:1], X[0] ^ CI} : s[Y_WIDTH:1];

  // Carries into a bit show in its sum; so does the last one out, unless both operands agree.
  assign c = {1'b0, X[Y_WIDTH-1:1] ^ Y[Y_WIDTH-1:1]};
  assign CO = {X[Y_WIDTH-1] ? ~Y[Y_WIDTH-1] : a[Y_WIDTH-1], c[Y_WIDTH-2:0]};
endmodule
