"""Named core configurations: one for each device of the shipped models, two for released models."""

from collections.abc import Callable
from dataclasses import replace

from ternforge.config import CoreConfig
from ternforge.errors import unknown
from ternforge.host.protocol import BAUD
from ternforge.mem.litedram import DramConfig

__all__ = ["BOARDS", "DRAMS", "LINES", "MODELS", "PRESETS", "core_preset", "dram_preset",
           "fitting_boards", "line_baud"]

#: Core configurations by name.
PRESETS = {
    # 128 KiB of single-port RAM (16384 words of 64 bits) and 512 words of block RAM beside it
    "up5k": CoreConfig(lanes=8, elements=1, vector_depth=1024, state_depth=512, max_rows=512,
                       max_fan_in=400, memory_beats=16384 + 512, single_port_beats=16384,
                       bank_beats=512, tree_levels=3),
    # five banks of 36 block RAMs, 2048 words of 9 bits each, and one of 18 with 1024 words of 18
    "ecp5-85f": CoreConfig(lanes=40, elements=4, vector_depth=2048, state_depth=1024, max_rows=256,
                           max_fan_in=600, memory_beats=11 * 1024, bank_beats=2048,
                           tree_levels=1),
    # MMfreeLM-370M in DDR memory off the chip, 16 bytes a beat: 70 MB of packets and, by its
    # width, 33 or 66 MB of embedding; 256 MB is what 24-bit addresses reach
    "ddr-n16": CoreConfig(lanes=16, elements=8, vector_depth=4096, state_depth=24 * 1024,
                          max_rows=4096, max_fan_in=2816, memory_beats=(256 << 20) // 16,
                          bank_beats=0, tree_levels=1, tile_registers=2, lane="ecp5"),
    # MMfreeLM-1.3B and 2.7B in 1 GB: beats of 64 bytes, as a 64-bit DDR4 controller gives them,
    # also keep their addresses within 24 bits
    "ddr-n64": CoreConfig(lanes=64, elements=4, vector_depth=10240, state_depth=32 * 2560,
                          max_rows=8192, max_fan_in=6912, memory_beats=(1 << 30) // 64,
                          bank_beats=0, tree_levels=1),
    # 32 MB of SDR SDRAM with 16 pins at twice the core's clock, so that a beat of 4 bytes comes in
    # each cycle; room for 9 layers of 1024 and a vocabulary of 8192 whose logits can be sampled
    "sdr-n4": CoreConfig(lanes=4, elements=2, vector_depth=16384, state_depth=9 * 1024,
                         max_rows=4096, max_fan_in=2816, memory_beats=(32 << 20) // 4,
                         bank_beats=0, tree_levels=1, tile_registers=2, lane="ecp5"),
    # MMfreeLM-370M in 128 MB of DDR3 with 16 pins, four transfers to a cycle of the core; the size
    # has 24 bits in the host's INFO
    "ddr3-n8": CoreConfig(lanes=8, elements=2, vector_depth=4096, state_depth=24 * 1024,
                          max_rows=4096, max_fan_in=2816, memory_beats=(128 << 20) // 8 - 1,
                          bank_beats=0, tree_levels=1, tile_registers=2, lane="ecp5"),
    # 8 MB of SDRAM with 32 pins inside a GW2AR-18
    "gw2ar-18": CoreConfig(lanes=4, elements=2, vector_depth=2048, state_depth=2048, max_rows=1024,
                           max_fan_in=1024, memory_beats=(8 << 20) // 4, bank_beats=0,
                           tree_levels=2),
}

# A prompt of MMfreeLM-370M, twelve tokens at a time, through what an ECP5-85F has: two elements
# take few multipliers, and all streams but the last keep the states of one layer.
PRESETS["ddr-n16-prefill"] = replace(
    PRESETS["ddr-n16"], streams=12, prefill_states=1024, elements=2, vector_depth=4096,
    max_rows=1024)
# MMfreeLM-1.3B and 2.7B where a beat is 256 bytes, as four pseudo-channels of HBM give it together
PRESETS["hbm-c8"] = replace(
    PRESETS["ddr-n64"], lanes=256, cores=8, elements=32, tile_registers=2,
    memory_beats=(4 << 30) // 256)

#: Chip and clocks of the cores whose image memory is generated with them: those of the ULX3S, of
#: the OrangeCrab r0.2 with 1 Gbit and the Versa, and of the Tang Nano 20K; and of boards that have
#: another chip for the same core.
DRAMS = {
    "sdr-n4": DramConfig(kind="sdr", chip="MT48LC16M16", clock_hz=62_500_000),
    "ddr3-n8": DramConfig(kind="ddr3", chip="MT41K64M16", clock_hz=75_000_000),
    "gw2ar-18": DramConfig(kind="sdr", chip="M12L64322A", clock_hz=48_000_000, ratio=1,
                           data_bits=32, family="generic"),
    "butterstick-85f": DramConfig(kind="ddr3", chip="MT41K256M16", clock_hz=75_000_000),
    "ecpix5-85f": DramConfig(kind="ddr3", chip="MT41K256M16", clock_hz=75_000_000),
}

#: Core preset of each board.
BOARDS = {"icebreaker": "up5k", "icebreaker-flash": "up5k", "ulx3s-85f": "ecp5-85f",
          "ulx3s-85f-sdram": "sdr-n4", "ulx3s-85f-sdram-flash": "sdr-n4",
          "orangecrab-85f": "ddr3-n8", "butterstick-85f": "ddr3-n8", "ecpix5-85f": "ddr3-n8",
          "versa-ecp5-45f": "ddr3-n8", "tang-nano-20k": "gw2ar-18"}

#: Boards that are another in all but where their image comes from.
VARIANTS = {"icebreaker-flash": "icebreaker", "ulx3s-85f-sdram-flash": "ulx3s-85f-sdram"}

#: Symbols per second of the serial line, where a board's USB chip takes more than usual: the
#: FT231X of the ULX3S goes up to 3 MBd, the FT2232H of the ECPIX-5 and of the Versa to 12 MBd, say
#: their data sheets.
LINES = {"ulx3s-85f-sdram": 3_000_000, "ulx3s-85f-sdram-flash": 3_000_000,
         "ecpix5-85f": 3_000_000, "versa-ecp5-45f": 3_000_000}

#: Board that each shipped model is sized for.
MODELS = {"shakespeare-up5k": "icebreaker", "shakespeare-85f": "ulx3s-85f"}


def fitting_boards(fits: Callable[[CoreConfig], bool]) -> str:
    """Which boards have a core that ``fits``, as the end of a sentence that refuses another.

    Without such a board, cores that have none are named.
    """
    fitting = [board for board, preset in BOARDS.items()
               if board not in VARIANTS and fits(PRESETS[preset])]
    if fitting:
        return f"it would fit {' or '.join(fitting)}"
    cores = [name for name, core in PRESETS.items() if name not in BOARDS.values() and fits(core)]
    return f"it fits no board{', but the core ' + ' or '.join(cores) if cores else ''}"


def core_preset(name: str) -> CoreConfig:
    """The core configuration of a preset, or of a board, by name.

    Raises
    ------
    UserError
        If there is none; the nearest names are offered.
    """
    key = BOARDS.get(name, name)
    if key not in PRESETS:
        raise unknown("board", name, [*BOARDS, *PRESETS])
    return PRESETS[key]


def dram_preset(name: str) -> DramConfig | None:
    """The memory chip of a preset, or of a board, by name; None if it is not modelled."""
    return DRAMS.get(name) or DRAMS.get(BOARDS.get(name, name))


def line_baud(name: str) -> int:
    """Symbols per second of a board's serial line; of a preset's, the usual."""
    return LINES.get(name, BAUD)
