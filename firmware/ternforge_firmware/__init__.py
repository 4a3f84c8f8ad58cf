"""Packet images: layout, assembler, disassembler, packer, host driver."""
