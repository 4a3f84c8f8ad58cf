"""docs/integration.md: its waveforms are what the hardware does."""

from pathlib import Path

from ternforge.config import CoreConfig
from ternforge.host.control import Control
from ternforge.host.registers import register
from ternforge.host.uart import UartTransmitter
from ternforge.mem.axi4 import Axi4Config, Axi4Read
from ternforge_sim.axi import OKAY, Axi4Memory
from ternforge_sim.bench import put, simulate

from .waves import Probe, draw

DOC = (Path(__file__).parents[2] / "docs" / "integration.md").read_text(encoding="utf-8")


def memory_waves() -> tuple[str, str]:
    """Both sides of the adapter: a request of five beats, from the sixth on, in two bursts."""
    config = Axi4Config(data_bits=128, address_bits=32, burst_words=4, outstanding=4, depth=16)
    dut = Axi4Read(CoreConfig(lanes=16, bank_beats=0), config)
    memory = Axi4Memory(dut.axi, config, lambda address: (address >> 4 & 0xFF, OKAY))
    port, axi = dut.memory, dut.axi
    probe = Probe(
        {"request.valid": port.request.valid, "request.ready": port.request.ready,
         "data.valid": port.data.valid, "data.ready": port.data.ready, "stop": port.stop,
         "idle": port.idle, "arvalid": axi.arvalid, "arready": axi.arready, "rvalid": axi.rvalid,
         "rready": axi.rready, "rlast": axi.rlast},
        {"request.address": (port.request.p.address, port.request.valid, 1),
         "request.beats": (port.request.p.beats, port.request.valid, 1),
         "data.payload": (port.data.payload, port.data.valid, 1),
         "araddr": (axi.araddr, axi.arvalid, 3), "arlen": (axi.arlen, axi.arvalid, 1),
         "rdata": (axi.rdata, axi.rvalid, 1)}, 18)

    async def ask(ctx):
        ctx.set(port.data.ready, 1)
        await ctx.tick()
        await put(ctx, port.request, [{"address": 6, "beats": 5}])
        await ctx.tick().repeat(9)
        ctx.set(port.data.ready, 0)  # the core is busy for two cycles
        await ctx.tick().repeat(2)
        ctx.set(port.data.ready, 1)

    simulate(dut, ask, probe.run, processes=[memory.process])
    return (probe.drawn("request.valid", "request.ready", "request.address", "request.beats",
                        "data.valid", "data.ready", "data.payload", "stop", "idle"),
            probe.drawn("arvalid", "arready", "araddr", "arlen", "rvalid", "rready", "rlast",
                        "rdata"))


def register_waves() -> str:
    """INTERRUPT is written, and read again."""
    dut = Control(CoreConfig(lanes=16, bank_beats=0), Axi4Config(data_bits=128))
    bus, offset = dut.bus, register("INTERRUPT").offset
    probe = Probe(
        {name: getattr(bus, name) for name in (
            "awvalid", "awready", "wvalid", "wready", "bvalid", "bready", "arvalid", "arready",
            "rvalid", "rready")},
        {"awaddr": (bus.awaddr, bus.awvalid, 3), "wdata": (bus.wdata, bus.wvalid, 1),
         "wstrb": (bus.wstrb, bus.wvalid, 1), "bresp": (bus.bresp, bus.bvalid, 1),
         "araddr": (bus.araddr, bus.arvalid, 3), "rdata": (bus.rdata, bus.rvalid, 1),
         "rresp": (bus.rresp, bus.rvalid, 1)}, 11)

    async def write(ctx):
        ctx.set(bus.bready, 1)
        ctx.set(bus.rready, 1)
        await ctx.tick()
        for signal, value in ((bus.awaddr, offset), (bus.wdata, 5), (bus.wstrb, 0xF),
                              (bus.awvalid, 1), (bus.wvalid, 1)):
            ctx.set(signal, value)
        await ctx.tick()
        ctx.set(bus.awvalid, 0)
        ctx.set(bus.wvalid, 0)
        await ctx.tick().until(bus.bvalid)
        await ctx.tick()
        ctx.set(bus.araddr, offset)
        ctx.set(bus.arvalid, 1)
        await ctx.tick().until(bus.arready)
        ctx.set(bus.arvalid, 0)

    simulate(dut, write, probe.run)
    return probe.drawn("awvalid", "awready", "awaddr", "wvalid", "wready", "wdata", "wstrb",
                       "bvalid", "bready", "bresp", "arvalid", "arready", "araddr", "rvalid",
                       "rready", "rdata", "rresp")


def serial_wave() -> str:
    """The byte a5, one column a bit."""
    dut, bits = UartTransmitter(4), []

    async def send(ctx):
        ctx.set(dut.i.payload, 0xA5)
        ctx.set(dut.i.valid, 1)
        await ctx.tick()
        ctx.set(dut.i.valid, 0)
        bits.append(1)
        for _ in range(11):
            await ctx.tick()
            bits.append(int(ctx.get(dut.tx)))
            await ctx.tick().repeat(3)

    simulate(dut, send)
    names = ["idle", "start", *(f"bit {k}" for k in range(8)), "stop", "idle"]
    return draw("symbol", [("", names), ("tx", bits)], 7).split("\n", 1)[1]


def test_waveforms_are_what_the_hardware_does():
    for wave in (*memory_waves(), register_waves(), serial_wave()):
        assert f"```text\n{wave}\n```" in DOC, f"docs/integration.md must show\n{wave}"
