"""Intel FPGA PAC D5005: DDR4 of 64 bits, four of them."""

from ternforge.mem.axi4 import Axi4Config
from ternforge_boards.part import Part

__all__ = ["PART"]

PART = Part(
    name="d5005",
    title="Intel FPGA PAC D5005 (Stratix 10 SX)",
    vendor="altera",
    part="1SX280HN2F43E2VG",
    family="Stratix 10",
    core="ddr-n64",
    clock_mhz=200.0,
    axi=Axi4Config(data_bits=512, address_bits=48),
    memory="one of four DDR4-2400 channels of 8 GB, 19.2 GB/s each, whose controller has 512 bits "
           "at its port; Platform Designer joins AXI4 to Avalon",
    area="cyclonev",
    url="https://www.intel.com/content/www/us/en/products/details/fpga/platforms/pac/d5005.html",
    sources=("Intel FPGA Programmable Acceleration Card D5005 Data Sheet",
             "Open FPGA Stack for Stratix 10, Reference FIM: device and memory"),
)
