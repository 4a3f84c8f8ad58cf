// The carry cell of the ECP5, for simulators: two halves, each a table of four inputs (A is bit 0
// of the index) and its place on the carry chain. After Lattice FPGA-TN-02204 and the model of
// Yosys, which it is proven equal to. Synthesis knows the cell.
/* verilator lint_off WIDTHEXPAND */ // "NO" is shorter than "YES"
module CCU2C #(
    parameter [15:0] INIT0 = 16'h0000,
    parameter [15:0] INIT1 = 16'h0000,
    parameter INJECT1_0 = "YES",
    parameter INJECT1_1 = "YES"
) (
    input CIN, A0, B0, C0, D0, A1, B1, C1, D1,
    output S0, S1, COUT
);
  wire sum0 = INIT0[{D0, C0, B0, A0}];
  wire sum1 = INIT1[{D1, C1, B1, A1}];
  // With injection a half neither adds the carry nor makes one.
  wire alone0 = INJECT1_0 == "YES";
  wire alone1 = INJECT1_1 == "YES";
  wire middle = sum0 ? CIN : !alone0 && INIT0[{2'b00, B0, A0}];
  assign S0 = sum0 ^ (!alone0 && CIN);
  assign S1 = sum1 ^ (!alone1 && middle);
  assign COUT = sum1 ? middle : !alone1 && INIT1[{2'b00, B1, A1}];
endmodule
/* verilator lint_on WIDTHEXPAND */
