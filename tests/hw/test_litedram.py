"""Controllers from LiteDRAM: what is asked for, what is generated, what is refused."""

from importlib import metadata

import pytest

from ternforge.errors import UserError
from ternforge.mem.litedram import DramConfig, generate_litedram
from ternforge.mem.litedram_top import build
from ternforge.presets import DRAMS, PRESETS

SDR, DDR3 = DRAMS["sdr-n4"], DRAMS["ddr3-n8"]


@pytest.mark.parametrize("phy", [True, False])
@pytest.mark.parametrize("config", [SDR, DDR3], ids=["sdr", "ddr3"])
def test_the_same_on_every_run(config, phy):
    text = generate_litedram(config, phy=phy).text
    assert text == build(config, phy)[0]
    assert text.count("\nmodule ") == 1
    assert "202" not in text.split("module", 1)[0]  # no date


@pytest.mark.parametrize("phy", [True, False])
@pytest.mark.parametrize("config", [SDR, DDR3], ids=["sdr", "ddr3"])
def test_ports_are_those_of_the_verilog(config, phy):
    dram = generate_litedram(config, phy=phy)
    header = dram.text[dram.text.index("module litedram ("):]
    header = header[:header.index(");")]
    assert len(dram.ports) == header.count("put ") + header.count("inout ")
    for port in dram.ports:
        width = f"[{port.width - 1}:0] " if port.width > 1 else ""
        line = next(line for line in header.splitlines()
                    if line.rstrip(",").endswith(f" {port.name}"))
        assert line.split()[0] == port.direction
        assert width in line


def test_phys_are_in_it_or_not():
    assert generate_litedram(DDR3).text.count("DQSBUFM ") >= 2
    assert generate_litedram(SDR).text.count("\nBB ") == 16
    for config in (SDR, DDR3):
        text = generate_litedram(config, phy=False).text
        assert "\nBB " not in text
        assert "DQSBUFM" not in text


def test_sizes_and_latencies():
    """32 MB of 4 banks and rows of 1 KiB; 128 MB of 8 banks and rows of 2 KiB."""
    sdr, ddr3 = generate_litedram(SDR), generate_litedram(DDR3)
    assert (sdr.words * SDR.word_bits // 8, sdr.segment_words) == (32 << 20, 256)
    assert (ddr3.words * DDR3.word_bits // 8, ddr3.segment_words) == (128 << 20, 128)
    assert (SDR.bytes_per_cycle, DDR3.bytes_per_cycle) == (4, 8)
    assert (sdr.cas_latency, ddr3.cas_latency, ddr3.cas_write_latency) == (3, 6, 5)
    for name, dram in (("sdr-n4", sdr), ("ddr3-n8", ddr3)):
        core = PRESETS[name]
        assert core.memory_beats * core.lanes <= dram.words * dram.config.word_bits // 8


def test_the_controller_keeps_what_the_chip_asks_for():
    for config in (SDR, DDR3, DramConfig(kind="sdr", chip="AS4C32M16", clock_hz=60_000_000),
                   DramConfig(kind="ddr3", chip="MT41K512M16", clock_hz=60_000_000)):
        dram = generate_litedram(config)
        for name in ("tRP", "tRCD", "tWR", "tRFC", "tRAS", "tRC", "tRRD"):
            assert dram.controller[name] * config.ratio >= dram.chip[name] > 0, name
        assert dram.controller["tREFI"] * config.ratio <= dram.chip["tREFI"]
        assert [step for step in dram.init if step.command == 7]


def test_refresh_takes_the_time_that_the_chip_needs():
    """LiteDRAM's 128 and 280 clocks are of 800 MHz: 160 and 350 ns."""
    assert generate_litedram(DDR3).chip["tRFC"] == 24  # of 6.67 ns
    slow = DramConfig(kind="ddr3", chip="MT41K512M16", clock_hz=60_000_000)
    assert generate_litedram(slow).chip["tRFC"] == 42  # of 8.33 ns


def test_unknown_chips_are_refused():
    with pytest.raises(UserError, match=r"^unknown SDR chip 'MT48LC16M61': did you mean "
                                        r"'MT48LC16M16'"):
        generate_litedram(DramConfig(kind="sdr", chip="MT48LC16M61", clock_hz=66_000_000))
    with pytest.raises(UserError, match=r"^unknown DDR3 chip 'MT48LC16M16': "):
        generate_litedram(DramConfig(kind="ddr3", chip="MT48LC16M16", clock_hz=75_000_000))


def test_without_litedram_it_says_what_to_install(monkeypatch):
    def missing(package):
        raise metadata.PackageNotFoundError(package)
    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(UserError, match=r"^the memory controller needs the package litedram, which "
                                        r"is not installed: install ternforge\[dram\]$"):
        generate_litedram(SDR)


@pytest.mark.parametrize(("fields", "error", "message"), [
    ({"kind": "ddr4"}, ValueError, "DramConfig.kind must be 'sdr' or 'ddr3', not 'ddr4'"),
    ({"family": "ice40"}, ValueError, "DramConfig.family must be 'ecp5' or 'generic', not 'ice40'"),
    ({"kind": "ddr3", "family": "generic"}, ValueError,
     "DramConfig.family must be 'ecp5', not 'generic'"),
    ({"clock_hz": 66e6}, TypeError,
     "DramConfig.clock_hz must be a positive integer, not 66000000.0"),
    ({"data_bits": 12}, ValueError, "DramConfig.data_bits must be whole bytes, not 12"),
    ({"ratio": 4}, ValueError, "DramConfig.ratio must be 1 or 2 with SDR, not 4"),
    ({"kind": "ddr3", "ratio": 1}, ValueError, "DramConfig.ratio must be 2 with DDR3, not 1"),
])
def test_bad_configurations(fields, error, message):
    good = {"kind": "sdr", "chip": "MT48LC16M16", "clock_hz": 66_000_000}
    with pytest.raises(error) as caught:
        DramConfig(**{**good, **fields})
    assert str(caught.value) == message
