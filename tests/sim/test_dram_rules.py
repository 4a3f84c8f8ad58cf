"""Each rule of the memory chip's model: kept at its last clock, broken one clock before."""

import ctypes
import subprocess
from dataclasses import dataclass

import pytest

from ternforge_sim.dram import CHIP, DramNumbers

#: A bare DFI of one phase in front of the model.
HARNESS = """
struct Top {
    uint8_t dfi_p0_cs_n, dfi_p0_ras_n, dfi_p0_cas_n, dfi_p0_we_n, dfi_p0_cke, dfi_p0_reset_n;
    uint8_t dfi_p0_rddata_en, dfi_p0_wrdata_en, dfi_p0_rddata_valid;
    uint32_t dfi_p0_address, dfi_p0_bank;
    uint8_t dfi_p0_wrdata[64], dfi_p0_wrdata_mask[8], dfi_p0_rddata[64];
};
struct Command { int64_t clock; uint32_t code, bank, address; };

extern "C" void chip_run(const DramNumbers* numbers, const Command* commands, uint32_t count,
                         int64_t reset, int64_t enable, int64_t end, uint64_t* counts,
                         uint8_t* read, char* error) {
    DramModel chip;
    chip.set(*numbers);
    Top top{};
    uint32_t next = 0;
    for (int64_t clock = 0; clock < end; ++clock) {
        top.dfi_p0_cs_n = 1, top.dfi_p0_ras_n = top.dfi_p0_cas_n = top.dfi_p0_we_n = 1;
        top.dfi_p0_rddata_en = top.dfi_p0_wrdata_en = 0;
        top.dfi_p0_reset_n = clock >= reset, top.dfi_p0_cke = clock >= enable;
        for (int k = 0; k < 64; ++k) top.dfi_p0_wrdata[k] = uint8_t(clock + 3 * k);
        if (next < count && commands[next].clock == clock) {
            const Command& c = commands[next++];
            top.dfi_p0_cs_n = 0, top.dfi_p0_ras_n = !(c.code & 1), top.dfi_p0_cas_n = !(c.code & 2);
            top.dfi_p0_we_n = !(c.code & 4), top.dfi_p0_bank = c.bank;
            top.dfi_p0_address = c.address;
            top.dfi_p0_rddata_en = (c.code & 7) == 2, top.dfi_p0_wrdata_en = (c.code & 7) == 6;
            if (c.code & 8) top.dfi_p0_rddata_en = top.dfi_p0_wrdata_en = 0;
        }
        chip.before_edge(top, uint64_t(clock));
        chip.after_edge(top, uint64_t(clock) + 1);
        if (top.dfi_p0_rddata_valid) std::memcpy(read, top.dfi_p0_rddata, 16);
    }
    counts[0] = chip.activates, counts[1] = chip.reads;
    counts[2] = chip.writes, counts[3] = chip.refreshes;
    std::strncpy(error, chip.error.c_str(), 255);
}
"""

ACT, READ, WRITE, PRE, REF, MODE, ZQ = 1, 2, 6, 5, 3, 7, 4
ALL = 1 << 10  # of PRE: all banks; of READ and WRITE: close the row; of ZQ: a long one

DDR3 = DramNumbers(
    ddr3=1, bank_bits=3, row_bits=6, column_bits=10, data_bytes=2, burst=8, cas=6, cas_write=5,
    read_latency=9, write_latency=3, tRP=7, tRCD=5, tWR=9, tRFC=30, tWTR=11, tFAW=60, tCCD=4,
    tRRD=3, tRAS=20, tRC=40, tRTP=6, tREFI=500, tMOD=12, tZQ=25, reset_clocks=20, settle_clocks=40)
SDR = DramNumbers(
    ddr3=0, bank_bits=2, row_bits=6, column_bits=9, data_bytes=2, burst=2, cas=3, cas_write=0,
    read_latency=3, write_latency=0, tRP=3, tRCD=4, tWR=5, tRFC=12, tWTR=4, tFAW=0, tCCD=1,
    tRRD=2, tRAS=8, tRC=15, tRTP=0, tREFI=500, tMOD=2, tZQ=0, reset_clocks=0, settle_clocks=40)

DDR3_START = [(120, MODE, 2, 0), (140, MODE, 3, 0), (160, MODE, 1, 6), (180, MODE, 0, 0x320),
              (200, ZQ, 0, ALL)]
SDR_START = [(50, PRE, 0, ALL), (60, REF, 0, 0), (80, REF, 0, 0), (100, MODE, 0, 0x31)]
START = 1000  # clock of the first command of a test


@dataclass
class Run:
    error: str
    counts: list[int]
    read: bytes


@pytest.fixture(scope="module")
def chip(tmp_path_factory):
    """Runs commands on the model."""
    folder = tmp_path_factory.mktemp("chip")
    (folder / "chip.cpp").write_text("".join(part.read_text() for part in CHIP) + HARNESS)
    subprocess.run(["g++", "-std=gnu++17", "-O1", "-fPIC", "-shared", "-DPHASES=1", "chip.cpp",
                    "-o", "chip.so"], cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "chip.so"))

    class Command(ctypes.Structure):
        _fields_ = [("clock", ctypes.c_int64), ("code", ctypes.c_uint32),
                    ("bank", ctypes.c_uint32), ("address", ctypes.c_uint32)]

    def run(numbers, commands, *, start=None, reset=30, enable=80, end=0) -> Run:
        ddr3 = numbers.ddr3
        if start is None:
            start = DDR3_START if ddr3 else SDR_START
        if not ddr3:
            reset = enable = 0
        shifted = [*start, *((START + clock, *rest) for clock, *rest in commands)]
        array = (Command * len(shifted))(*(Command(*one) for one in shifted))
        counts, read = (ctypes.c_uint64 * 4)(), ctypes.create_string_buffer(16)
        error = ctypes.create_string_buffer(256)
        last = shifted[-1][0] + 30 if shifted else 200
        library.chip_run(ctypes.byref(numbers), array, ctypes.c_uint32(len(shifted)),
                         ctypes.c_int64(reset), ctypes.c_int64(enable),
                         ctypes.c_int64(max(last, end)), counts, read, error)
        return Run(error.value.decode(), list(counts), read.raw)

    return run


#: For each rule: commands whose last comes at the first clock that is allowed.
DDR3_RULES = {
    "tRCD": [(0, ACT, 0, 0), (5, READ, 0, 0)],
    "tRC": [(0, ACT, 0, 0), (20, PRE, 0, 0), (40, ACT, 0, 0)],
    "tRP": [(0, ACT, 0, 0), (50, PRE, 0, 0), (57, ACT, 0, 0)],
    "tRRD": [(0, ACT, 0, 0), (3, ACT, 1, 0)],
    "tFAW": [*((3 * k, ACT, k, 0) for k in range(4)), (60, ACT, 4, 0)],
    "tCCD": [(0, ACT, 0, 0), (5, READ, 0, 0), (9, READ, 0, 8)],
    "tWTR": [(0, ACT, 0, 0), (5, WRITE, 0, 0), (25, READ, 0, 0)],
    "tRAS": [(0, ACT, 0, 0), (20, PRE, 0, 0)],
    "tWR": [(0, ACT, 0, 0), (15, WRITE, 0, 0), (33, PRE, 0, 0)],
    "tRTP": [(0, ACT, 0, 0), (30, READ, 0, 0), (36, PRE, 0, 0)],
    "tRFC": [(0, REF, 0, 0), (30, ACT, 0, 0)],
    "tMOD": [(0, MODE, 3, 0), (12, ACT, 0, 0)],
    "tZQ": [(0, ZQ, 0, 0), (25, ACT, 0, 0)],
    "tRP of a read that closes": [(0, ACT, 0, 0), (50, READ, 0, ALL), (63, ACT, 0, 1)],
    "tRP of a write that closes": [(0, ACT, 0, 0), (50, WRITE, 0, ALL), (75, ACT, 0, 1)],
    "tRP of a refresh": [(0, ACT, 0, 0), (50, PRE, 0, ALL), (57, REF, 0, 0)],
}
SDR_RULES = {
    "tRCD": [(0, ACT, 0, 0), (4, READ, 0, 0)],
    "tRC": [(0, ACT, 0, 0), (8, PRE, 0, 0), (15, ACT, 0, 0)],
    "tRP": [(0, ACT, 0, 0), (20, PRE, 0, 0), (23, ACT, 0, 0)],
    "tRRD": [(0, ACT, 0, 0), (2, ACT, 1, 0)],
    "tWTR": [(0, ACT, 0, 0), (5, WRITE, 0, 0), (10, READ, 0, 0)],
    "tRAS": [(0, ACT, 0, 0), (8, PRE, 0, 0)],
    "tWR": [(0, ACT, 0, 0), (15, WRITE, 0, 0), (21, PRE, 0, 0)],
    "tRFC": [(0, REF, 0, 0), (12, ACT, 0, 0)],
    "tMOD": [(0, MODE, 0, 0x31), (2, ACT, 0, 0)],
}
CASES = [(kind, name) for kind, rules in (("ddr3", DDR3_RULES), ("sdr", SDR_RULES))
         for name in rules]


@pytest.mark.parametrize(("kind", "name"), CASES, ids=[f"{kind}-{name}" for kind, name in CASES])
def test_a_rule_holds_to_the_clock(chip, kind, name):
    numbers, rules = (DDR3, DDR3_RULES) if kind == "ddr3" else (SDR, SDR_RULES)
    commands = rules[name]
    assert chip(numbers, commands).error == ""
    *others, (clock, *rest) = commands
    broken = chip(numbers, [*others, (clock - 1, *rest)]).error
    assert broken.startswith(f"{name.split()[0]}: ")
    assert broken.endswith(f"(controller cycle {START + clock - 1})")


def test_refreshes_may_be_late_by_eight(chip):
    first = [(0, ACT, 0, 0), (50, PRE, 0, ALL)]
    assert chip(DDR3, first, end=START + 9 * 500 + 1).error == ""
    late = chip(DDR3, first, end=START + 9 * 500 + 2)
    assert late.error == (f"tREFI: refreshes are late by more than 9 (controller cycle "
                          f"{START + 9 * 500 + 1})")
    caught_up = [*first, *((4000 + 40 * k, REF, 0, 0) for k in range(8))]
    run = chip(DDR3, caught_up, end=START + 17 * 500)
    assert run.error == ""
    assert run.counts == [1, 0, 0, 8]


@pytest.mark.parametrize(("commands", "error"), [
    ([(0, READ, 1, 0)], "READ in bank 1, which has no open row"),
    ([(0, ACT, 2, 0), (50, ACT, 2, 1)], "ACTIVATE in bank 2, which has an open row"),
    ([(0, ACT, 2, 0), (50, REF, 0, 0)], "REFRESH while a row is open"),
    ([(0, ACT, 2, 0), (50, MODE, 3, 0)], "MODE REGISTER SET while a row is open"),
    ([(0, ACT, 2, 0), (50, ZQ, 0, 0)], "ZQ CALIBRATION while a row is open"),
    ([(0, ACT, 2, 0), (50, READ, 2, 4)], "READ within a burst"),
    ([(0, ACT, 2, 0), (50, READ | 8, 2, 8)], "READ without its data enable"),
    ([(0, ACT, 2, 0), (50, WRITE | 8, 2, 8)], "WRITE without its data enable"),
    ([(0, MODE, 0, 0x330)], ("mode register 0 sets CAS latency 7 and bursts of 8, and the "
                             "controller counts on 6 and 8")),
    ([(0, MODE, 2, 0x208)], ("mode register 2 sets another CAS write latency than the controller "
                             "counts on")),
])
def test_what_a_bank_does_not_allow(chip, commands, error):
    assert chip(DDR3, commands).error.partition(" (controller cycle")[0] == error


@pytest.mark.parametrize(("numbers", "left_out", "error"), [
    (DDR3, 0, "not all mode registers were written"), (DDR3, 4, "the chip was not calibrated"),
    (SDR, 0, "the banks were not precharged"), (SDR, 1, "two refreshes did not come"),
    (SDR, 3, "the mode register was not written"),
])
def test_initialisation_comes_first(chip, numbers, left_out, error):
    start = list(DDR3_START if numbers.ddr3 else SDR_START)
    del start[left_out]
    run = chip(numbers, [(0, ACT, 0, 0)], start=start)
    assert run.error.startswith(f"the chip is used before its initialisation: {error}")


def test_reset_and_clock_enable_take_their_time(chip):
    assert chip(DDR3, [], reset=19).error.startswith(
        "the reset ended after 19 clocks, and the chip needs 20")
    assert chip(DDR3, [], reset=41).error == ""
    assert chip(DDR3, [], reset=42).error.startswith(
        "the clock was enabled 39 clocks after the reset, and the chip needs 40")
    assert chip(DDR3, [], reset=30, enable=100).error.startswith(
        "a command before the clock was enabled for long enough")
    early = [(39, PRE, 0, ALL), *SDR_START[1:]]
    assert chip(SDR, [], start=early).error.startswith(
        "a command before the clock was enabled for long enough")


def test_words_come_back_as_they_were_written(chip):
    commands = [(0, ACT, 3, 5), (10, WRITE, 3, 16), (40, READ, 3, 16)]
    run = chip(DDR3, commands)
    assert run.error == ""
    clock = START + 10 + DDR3.write_latency
    assert run.read == bytes((clock + 3 * k) & 0xFF for k in range(16))
    assert run.counts == [1, 1, 1, 0]
    other = chip(DDR3, [*commands, (80, READ, 3, 24)])
    assert other.read == bytes(16)
