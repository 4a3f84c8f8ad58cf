"""The SDR PHY at its pins: words come back in the cycle that the controller takes them."""

import ctypes

import pytest

from ternforge.mem.litedram import DramConfig, generate_litedram
from ternforge_sim.dram import CHIP, DramNumbers
from ternforge_sim.verilator import build_library

#: The chip of ``dram.hpp`` with a clock of its own, one command each; it and the PHY's registers
#: take what stood before an edge of ``clk_2x``.
HARNESS = r"""
#include <memory>
#include "Vlitedram.h"
#include "verilated.h"

struct Pins {  // what the model sees of one clock
    uint8_t dfi_p0_cs_n, dfi_p0_ras_n, dfi_p0_cas_n, dfi_p0_we_n, dfi_p0_cke, dfi_p0_reset_n = 1;
    uint8_t dfi_p0_rddata_en = 1, dfi_p0_wrdata_en = 1, dfi_p0_rddata_valid = 0;
    uint32_t dfi_p0_address, dfi_p0_bank;
    uint16_t dfi_p0_wrdata[RATIO], dfi_p0_rddata[RATIO];
    uint8_t dfi_p0_wrdata_mask = 0;
};

struct Board {
    VerilatedContext context;
    std::unique_ptr<Vlitedram> top = std::make_unique<Vlitedram>(&context, "litedram");
    DramModel chip;
    Pins pins{};
    uint64_t clock = 0;
    uint16_t last_dq = 0, next_dq = 0;
    uint8_t last_dm = 0;
    bool second = false;

    void half_edge(bool slow) {  // one clock of the chip; `slow`: the controller's edge as well
        pins.dfi_p0_cs_n = top->cs_n, pins.dfi_p0_ras_n = top->ras_n;
        pins.dfi_p0_cas_n = top->cas_n, pins.dfi_p0_we_n = top->we_n, pins.dfi_p0_cke = top->cke;
        pins.dfi_p0_address = top->a, pins.dfi_p0_bank = top->ba;
        const uint16_t dq = top->dq__en == 0xFFFF ? top->dq__out : 0xDEAD;
#if RATIO == 2
        pins.dfi_p0_wrdata[0] = last_dq, pins.dfi_p0_wrdata[1] = dq;
        pins.dfi_p0_wrdata_mask = last_dm | top->dm << 2;
#else
        pins.dfi_p0_wrdata[0] = dq, pins.dfi_p0_wrdata_mask = top->dm;
#endif
        last_dq = dq, last_dm = top->dm;
        if (clock > 1) chip.before_edge(pins, clock);  // before, the PHY's registers are not set
        if (slow) top->clk = 1;
#if RATIO == 2
        top->clk_2x = 1;
#endif
        top->eval();
        ++clock;
        chip.after_edge(pins, clock);
        // What the chip drives until the next edge.
        top->dq = 0xBEEF;
        if (pins.dfi_p0_rddata_valid) top->dq = pins.dfi_p0_rddata[0];
        else if (second) top->dq = next_dq;
        second = RATIO == 2 && pins.dfi_p0_rddata_valid;
        next_dq = pins.dfi_p0_rddata[RATIO - 1];
#if RATIO == 2
        top->clk_2x = 0;
#endif
        if (RATIO == 1 || !slow) top->clk = 0;
        top->eval();
    }

    void tick() {
        half_edge(true);
        if (RATIO == 2) half_edge(false);
    }
};

extern "C" {
Board* board_new(const DramNumbers* numbers) {
    auto* b = new Board;
    b->chip.set(*numbers);
    b->top->init_select = b->top->init_cke = b->top->init_reset_n = 1;
    b->top->eval();
    return b;
}
void board_init(Board* b, uint32_t command, uint32_t address, uint32_t bank, uint32_t wait) {
    b->top->init_command = command, b->top->init_address = address, b->top->init_bank = bank;
    b->tick();
    b->top->init_command = 0;
    while (wait--) b->tick();
}
void board_use(Board* b) { b->top->init_select = 0; }
void board_write(Board* b, uint32_t address, uint32_t data, uint32_t enable) {
    auto& top = *b->top;
    top.port0_cmd_valid = 1, top.port0_cmd_we = 1, top.port0_cmd_addr = address;
    top.port0_wdata_valid = 1, top.port0_wdata_data = data, top.port0_wdata_we = enable;
    bool sent = false, given = false;
    for (int k = 0; k < 3000 && !(sent && given); ++k) {
        top.eval();
        const bool taken = top.port0_cmd_valid && top.port0_cmd_ready, used = top.port0_wdata_ready;
        b->tick();
        if (taken) sent = true, top.port0_cmd_valid = 0;
        if (used) given = true;
    }
    top.port0_wdata_valid = 0;
}
// Asks for `count` words as fast as it may; returns how many came.
uint32_t board_read(Board* b, uint32_t address, uint32_t count, uint32_t* words) {
    auto& top = *b->top;
    uint32_t asked = 0, came = 0;
    for (int k = 0; k < 6000 && came < count; ++k) {
        top.port0_cmd_valid = asked < count, top.port0_cmd_we = 0;
        top.port0_cmd_addr = address + asked;
        top.eval();
        const bool taken = top.port0_cmd_valid && top.port0_cmd_ready;
        if (top.port0_rdata_valid) words[came++] = top.port0_rdata_data;
        b->tick();
        asked += taken;
    }
    top.port0_cmd_valid = 0;
    return came;
}
const char* board_error(const Board* b) { return b->chip.error.c_str(); }
void board_delete(Board* b) { b->top->final(); delete b; }
}
"""


class Pins:
    """A controller with its PHY, and a chip on its pins."""

    def __init__(self, config: DramConfig):
        dram = generate_litedram(config)
        numbers = DramNumbers.of(dram)
        # The command stands at the pins until an edge; words are driven from CL - 1 edges later,
        # so that they stand at the edge CL later. The first word to write comes with its command.
        numbers.read_latency, numbers.write_latency = dram.cas_latency, config.ratio - 1
        folder = self._verilog(dram)
        library = build_library(
            [folder], "litedram", "".join(part.read_text() for part in CHIP) + HARNESS,
            verilate=("--pins-inout-enables",),
            cflags=("-O1", "-DPHASES=1", f"-DRATIO={config.ratio}"))
        self.library = ctypes.CDLL(str(library))
        self.library.board_new.restype = self.library.board_error.restype = ctypes.c_void_p
        self.board = ctypes.c_void_p(self.library.board_new(ctypes.byref(numbers)))
        for step in dram.init:
            self.library.board_init(self.board, step.command, step.address, step.bank, step.wait)
        self.library.board_use(self.board)

    @staticmethod
    def _verilog(dram):
        from ternforge.cache import cached, content_key
        return cached("verilog", content_key("pins", dram.text), dram.write) / "litedram.v"

    def write(self, address: int, data: int, enable: int = 15):
        self.library.board_write(self.board, address, data, enable)

    def read(self, address: int, count: int) -> list[int]:
        words = (ctypes.c_uint32 * count)()
        assert self.library.board_read(self.board, address, count, words) == count
        return list(words)

    @property
    def error(self) -> str:
        return ctypes.string_at(self.library.board_error(self.board)).decode()

    def close(self):
        self.library.board_delete(self.board)


@pytest.mark.parametrize("clock_hz", [48_000_000, 66_000_000], ids=["cas-2", "cas-3"])
def test_words_at_half_rate(clock_hz):
    """With both CAS latencies: bytes masked, banks and rows changed, words one after another."""
    pins = Pins(DramConfig(kind="sdr", chip="MT48LC16M16", clock_hz=clock_hz, family="generic"))
    words = {address: 0x9E3779B1 * (address + 1) & 0xFFFFFFFF
             for first in (0, 250, 0x4000, 0x1FFFF0) for address in range(first, first + 12)}
    for address, word in words.items():
        pins.write(address, word)
    pins.write(5, 0xAABBCCDD, 0b0110)
    words[5] = words[5] & 0xFF0000FF | 0x00BBCC00
    for first in (0, 250, 0x4000, 0x1FFFF0):
        assert pins.read(first, 12) == [words[address] for address in range(first, first + 12)]
    assert pins.error == ""
    pins.close()
