"""cocotb benches on the generated Verilog: what is simulated is what is synthesised."""
