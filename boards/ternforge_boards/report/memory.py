"""The memory that the image of a model lies in."""

from ternforge.config import CoreConfig
from ternforge.mem.litedram import DramConfig

__all__ = ["bytes_per_cycle", "memory_name"]


def bytes_per_cycle(core: CoreConfig, dram: DramConfig | None) -> float:
    """What it gives in a cycle of the core at most, or what the core takes if that is less."""
    return min(core.lanes, dram.bytes_per_cycle) if dram else core.lanes


def memory_name(core: CoreConfig, dram: DramConfig | None) -> str:
    """What it is made of."""
    if dram:
        return f"{dram.chip}, {dram.kind.upper()}, {dram.data_bits} bits"
    return "single-port RAM and block RAM" if core.single_port_beats else "block RAM"
