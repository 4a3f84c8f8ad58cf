// Drives the Verilated system for ctypes: its pins, with a serial port of the host on them, and the
// image memory outside of the chip. Text in front of this one defines SYSTEM_MEMORY and
// `struct SystemMemory`, with the functions below; without it the image memory is on the chip.
#include <cstdint>
#include <deque>
#include <memory>

#include "Vsystem.h"
#include "verilated.h"

#ifndef SYSTEM_MEMORY
struct SystemMemory {
    void set(uint32_t, uint64_t) {}
    void before_edge(const Vsystem&, uint64_t) {}
    void after_edge(Vsystem&, uint64_t) {}
};
#endif

#ifndef SYSTEM_FLASH  // flash.hpp in front of this text defines it
struct FlashModel {
    const uint8_t* contents = nullptr;
    uint64_t size = 0, offset = 0;
    void after_edge(Vsystem&, uint64_t) {}
};
#endif

namespace {

struct Simulation {
    VerilatedContext context;
    std::unique_ptr<Vsystem> top;
    SystemMemory memory;
    FlashModel flash;
    uint64_t cycle = 0;
    uint32_t divisor = 4;  // clock cycles of one bit

    std::deque<uint8_t> to_board, from_board;
    uint32_t sending = 1;     // stop bit, data and start bit that are still to go; 1 is idle
    uint32_t send_wait = 0;   // cycles that the present bit still takes
    uint32_t receiving = 0;   // bits seen of the present byte, start bit included; 0 is idle
    uint32_t receive_wait = 0;
    uint8_t received = 0;
    uint64_t broken = 0;      // bytes without a stop bit

    void tick() {
        if (send_wait) {
            --send_wait;
        } else if (sending > 1) {
            sending >>= 1;
            send_wait = sending > 1 ? divisor - 1 : 0;
        }
        if (sending == 1 && !send_wait && !to_board.empty()) {
            sending = 1u << 10 | 1u << 9 | uint32_t(to_board.front()) << 1;
            to_board.pop_front();
            send_wait = divisor - 1;
        }
        top->rx = sending == 1 || (sending & 1);
        memory.before_edge(*top, cycle);
        top->clk = 1;
        top->eval();
        ++cycle;
        memory.after_edge(*top, cycle);
        flash.after_edge(*top, cycle);
        top->clk = 0;
        top->eval();
        listen(top->tx);
    }

    void listen(bool level) {
        if (!receiving) {
            if (!level) receiving = 1, receive_wait = divisor / 2;
            return;
        }
        if (--receive_wait) return;
        receive_wait = divisor;
        if (receiving == 1 && level) {
            receiving = 0;  // too short for a start bit
        } else if (receiving == 10) {
            if (level) from_board.push_back(received);
            else ++broken;
            receiving = 0;
        } else {
            if (receiving > 1) received = uint8_t(received >> 1 | level << 7);
            ++receiving;
        }
    }

    bool silent() const { return to_board.empty() && sending == 1 && !receiving; }
};

}  // namespace

extern "C" {

Simulation* system_new(uint32_t divisor) {
    auto* s = new Simulation;
    s->divisor = divisor;
    s->top = std::make_unique<Vsystem>(&s->context, "system");
    return s;
}

// Option `number` of the memory.
void system_set(Simulation* s, uint32_t number, uint64_t value) { s->memory.set(number, value); }

// What stands in the flash from `offset` on; the bytes stay the caller's.
void system_flash(Simulation* s, const uint8_t* contents, uint64_t size, uint64_t offset) {
    s->flash.contents = contents, s->flash.size = size, s->flash.offset = offset;
}

// Reset, and a line that is idle for longer than a byte; after the options that it starts with.
void system_start(Simulation* s) {
    s->memory.after_edge(*s->top, 0);
    s->top->clk = 0;
    s->top->rst = 1;
    s->top->eval();
    for (int k = 0; k < 4; ++k) s->tick();
    s->top->rst = 0;
    for (uint32_t k = 0; k < 12 * s->divisor; ++k) s->tick();
}

void system_delete(Simulation* s) {
    s->top->final();
    delete s;
}

uint64_t system_cycle(const Simulation* s) { return s->cycle; }

uint64_t system_broken(const Simulation* s) { return s->broken; }

// Bits 0 and 1: the outputs busy and fault.
int system_flags(const Simulation* s) { return s->top->busy | s->top->fault << 1; }

void system_send(Simulation* s, const uint8_t* bytes, uint32_t count) {
    s->to_board.insert(s->to_board.end(), bytes, bytes + count);
}

// Run until a byte has come, or nothing has moved on either line for `patience` cycles.
void system_listen(Simulation* s, uint64_t patience) {
    uint64_t quiet = 0;
    while (s->from_board.empty() && quiet < patience) {
        s->tick();
        quiet = s->silent() ? quiet + 1 : 0;
    }
}

// Run for so many cycles.
void system_run(Simulation* s, uint64_t cycles) {
    while (cycles--) s->tick();
}

uint32_t system_take(Simulation* s, uint8_t* bytes, uint32_t most) {
    uint32_t count = 0;
    while (count < most && !s->from_board.empty()) {
        bytes[count++] = s->from_board.front();
        s->from_board.pop_front();
    }
    return count;
}

}  // extern "C"
