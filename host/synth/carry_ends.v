// SPDX-License-Identifier: Apache-2.0
// Carry cells at the ends of a chain, whose carry input or output is left open.

(* techmap_celltype = "CARRY_FIRST CARRY_LAST" *)
module open_end (CIN, A0, B0, C0, D0, A1, B1, C1, D1, S0, S1, COUT);
  parameter INIT0 = 16'h0000;
  parameter INIT1 = 16'h0000;
  parameter INJECT1_0 = "NO";
  parameter INJECT1_1 = "NO";
  parameter _TECHMAP_CELLTYPE_ = "";
  input CIN, A0, B0, C0, D0, A1, B1, C1, D1;
  output S0, S1, COUT;
  generate
    if (_TECHMAP_CELLTYPE_ == "CARRY_FIRST")
      CCU2C #(.INIT0(INIT0), .INIT1(INIT1), .INJECT1_0(INJECT1_0), .INJECT1_1(INJECT1_1))
        _TECHMAP_REPLACE_ (.CIN(1'bx), .COUT(COUT), .A0(A0), .B0(B0), .C0(C0), .D0(D0),
                           .A1(A1), .B1(B1), .C1(C1), .D1(D1), .S0(S0), .S1(S1));
    else
      CCU2C #(.INIT0(INIT0), .INIT1(INIT1), .INJECT1_0(INJECT1_0), .INJECT1_1(INJECT1_1))
        _TECHMAP_REPLACE_ (.CIN(CIN), .COUT(1'bx), .A0(A0), .B0(B0), .C0(C0), .D0(D0),
                           .A1(A1), .B1(B1), .C1(C1), .D1(D1), .S0(S0), .S1(S1));
  endgenerate
endmodule
