"""Kria KV260: the memory of the processor system."""

from ternforge.mem.axi4 import Axi4Config
from ternforge_boards.part import Part

__all__ = ["PART"]

PART = Part(
    name="kv260",
    title="AMD Kria KV260",
    vendor="amd",
    part="xck26-sfvc784-2LV-c",
    family="Zynq UltraScale+",
    core="ddr-n16",
    clock_mhz=250.0,
    axi=Axi4Config(data_bits=128, address_bits=49, burst_words=16, outstanding=16),
    memory="4 GB of DDR4-2400 with 64 bits at the processor system, through one of its ports "
           "S_AXI_HP of 128 bits and 49 address bits",
    area="xcup",
    url="https://www.amd.com/en/products/system-on-modules/kria/k26/kv260-vision-starter-kit.html",
    sources=("AMD DS987, Kria K26 SOM", "AMD UG1085, Zynq UltraScale+ Device: PS-PL interfaces"),
)
