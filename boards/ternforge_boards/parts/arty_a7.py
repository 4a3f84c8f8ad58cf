"""Arty A7-100T: DDR3 of 16 bits."""

from ternforge.mem.axi4 import Axi4Config
from ternforge_boards.part import Part

__all__ = ["PART"]

PART = Part(
    name="arty-a7-100t",
    title="Digilent Arty A7-100T",
    vendor="amd",
    part="xc7a100tcsg324-1",
    family="Artix-7",
    core="ddr-n16",
    clock_mhz=83.333,
    axi=Axi4Config(data_bits=128, address_bits=32, burst_words=32, outstanding=4, depth=512),
    memory="256 MB of DDR3L-667 with 16 bits, 1.3 GB/s, whose controller (MIG, 4:1) has an AXI4 "
           "port of 128 bits at 83.3 MHz",
    area="xc7",
    url="https://digilent.com/reference/programmable-logic/arty-a7/reference-manual",
    sources=("Digilent, Arty A7 Reference Manual: Memory",
             "AMD UG586, 7 Series Memory Interface Solutions"),
)
