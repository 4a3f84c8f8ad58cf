"""What ``report.json`` of a build holds, version 2."""

from typing import Any, Literal

from pydantic import Field

from .value import Record, Value

__all__ = ["FORMAT", "Area", "AreaReport", "CauseCycles", "ClockReport", "Design", "Energy",
           "Evidence", "PathStep", "Power", "PowerLine", "Report", "SeedReport", "Throughput",
           "UnitArea"]

#: Version of the file.
FORMAT = 2


class Design(Record):
    """What was built."""

    board: str
    device: str
    family: str
    core: dict[str, Any] = Field(description="fields of the core's configuration")
    core_mhz: float = Field(gt=0, description="clock of the core in MHz")
    baud: int | None = Field(default=None, description="symbols per second of the serial line")
    clock_from: str = Field(default="constraint", description="where the core's clock comes from")
    memory: str = Field(description="where the image lies: block RAM, single-port RAM, a chip")
    memory_bytes_per_second: float = Field(gt=0, description="peak rate of the image's memory")
    design_hash: str = Field(description="of the generated Verilog and of the constraints")
    model: str
    model_hash: str
    ternary_weights: int = Field(ge=0, description="weights that each token reads")


class Area(Record):
    """Resources of a device, or of a part of a design."""

    lut: int = Field(ge=0, description="LUT4; on the iCE40 logic cells")
    ff: int = Field(ge=0)
    block_ram: int = Field(ge=0)
    dsp: int = Field(ge=0)
    spram: int = Field(default=0, ge=0)


class UnitArea(Record):
    """Share of one unit. ``name`` is its path in the design, such as ``core.lanes``."""

    name: str
    area: Area


class AreaReport(Record):
    """Area by unit; the units do not overlap."""

    total: Area = Field(description="as nextpnr counts")
    available: Area = Field(description="of the device")
    units: tuple[UnitArea, ...]
    source: str
    cells: int = Field(default=0, ge=0, description="of the netlist")
    indirect: int = Field(default=0, ge=0, description="of these, placed by their neighbours")


class PathStep(Record):
    """One hop of a critical path."""

    kind: str = Field(description="clk-to-q, logic, routing or setup")
    delay_ns: float
    unit: str = Field(description="unit that the cell belongs to, such as core.epilogue")
    cell: str = Field(description="cell, or net, by its name in the netlist")


class ClockReport(Record):
    """A clock after routing."""

    net: str
    achieved_mhz: float = Field(gt=0)
    constrained_mhz: float = Field(gt=0)
    met: bool
    path: tuple[PathStep, ...] = Field(default=(), description="the path that bounds it")


class SeedReport(Record):
    """What one seed of nextpnr reached, of the clock with the least to spare."""

    seed: int = Field(ge=0)
    fmax_mhz: float = Field(gt=0)
    met: bool


class CauseCycles(Record):
    """Cycles per token with one cause; those of all causes add up to the cycles of a token."""

    cause: str
    cycles: float = Field(ge=0)


class Throughput(Record):
    """Speed, of the whole design and of one stream."""

    cycles_per_token: Value = Field(description="of a step, in which each stream takes a token")
    ideal_cycles_per_token: Value = Field(description="if the image's memory were never idle")
    causes: tuple[CauseCycles, ...] = Field(description="adds up to the cycles of a token")
    streams: int = Field(default=1, ge=1, description="independent sequences per step")
    tokens_per_second: Value = Field(description="of one stream")
    tokens_per_second_summed: Value = Field(description="over all streams")
    bandwidth_share: Value = Field(description="of the memory's peak rate, 0 to 1")


class PowerLine(Record):
    """One contribution. ``rail`` tells what it adds up with: core, memory, or board."""

    name: str
    rail: Literal["core", "memory", "board"]
    power: Value


class Energy(Record):
    """Energy of one token of one stream, or of one ternary multiply-accumulate."""

    core_per_token: Value
    memory_per_token: Value
    board_per_token: Value
    core_per_mac: Value


class Power(Record):
    """Power while tokens are made, by contribution and by rail."""

    temperature_c: float
    core_volts: float
    activity: str = Field(description="how the activity was found, over which tokens")
    lines: tuple[PowerLine, ...]
    core: Value
    memory: Value
    board: Value
    energy: Energy


class Evidence(Record):
    """How the hardware was compared with the integer model."""

    checked_tokens: int = Field(ge=0)
    bit_exact: bool
    of: str = Field(description="what ran, and on which tokens")


class Report(Record):
    """One build."""

    format: Literal[2] = FORMAT
    name: str = Field(description="what tables call it")
    design: Design
    tool_versions: dict[str, str]
    seed: int = Field(ge=0, description="the one that was packed")
    seeds: tuple[SeedReport, ...]
    area: AreaReport
    clocks: tuple[ClockReport, ...]
    throughput: Throughput
    power: Power | None = Field(default=None, description="null until it is estimated")
    evidence: Evidence
    bitstream: str | None

    @property
    def critical_clock(self) -> ClockReport | None:
        """The clock with the least to spare for its constraint; None if none was placed."""
        return min(self.clocks, key=lambda clock: clock.achieved_mhz / clock.constrained_mhz,
                   default=None)
