"""Alveo U280: DDR4 of 64 bits, two of them, and HBM2."""

from ternforge.mem.axi4 import Axi4Config
from ternforge_boards.part import Part

__all__ = ["PART"]

PART = Part(
    name="alveo-u280",
    title="AMD Alveo U280",
    vendor="amd",
    part="xcu280-fsvh2892-2L-e",
    family="Virtex UltraScale+ HBM",
    core="ddr-n64",
    clock_mhz=250.0,
    axi=Axi4Config(data_bits=512, address_bits=64),
    memory="one of two DDR4-2400 channels of 16 GB, 19.2 GB/s each, whose controller has an AXI4 "
           "port of 512 bits; or two of the 32 HBM2 channels of 256 bits and 14.4 GB/s behind an "
           "interconnect",
    area="xcup",
    url="https://www.amd.com/en/products/accelerators/alveo/u280.html",
    sources=("AMD DS963, Alveo U280 Data Center Accelerator Card",
             "AMD UG1393, Vitis Application Acceleration: HBM Configuration and Use"),
)
