"""Alveo U250: DDR4 of 64 bits, four of them."""

from ternforge.mem.axi4 import Axi4Config
from ternforge_boards.part import Part

__all__ = ["PART"]

PART = Part(
    name="alveo-u250",
    title="AMD Alveo U250",
    vendor="amd",
    part="xcu250-figd2104-2L-e",
    family="Virtex UltraScale+",
    core="ddr-n64",
    clock_mhz=250.0,
    axi=Axi4Config(data_bits=512, address_bits=64),
    memory="one of four DDR4-2400 channels of 16 GB, 19.2 GB/s each, whose controller has an AXI4 "
           "port of 512 bits",
    area="xcup",
    url="https://www.amd.com/en/products/accelerators/alveo/u250.html",
    sources=("AMD DS962, Alveo U200 and U250 Data Center Accelerator Cards",
             "AMD UG1120, Alveo Data Center Accelerator Card Platforms"),
)
