// Drives a host port and its core by bytes, for ctypes: every byte of a call goes in as the port
// takes it, and the port's bytes are taken with pauses. With the text of external.hpp in front, its
// image memory is off the chip.
#include <cstdint>
#include <memory>
#include <vector>

#include "Vfuzz.h"
#include "verilated.h"

#ifndef SYSTEM_MEMORY
struct SystemMemory {
    void start(uint32_t, uint64_t) {}
    void reset() {}
    void before_edge(const Vfuzz&, uint64_t) {}
    void after_edge(Vfuzz&, uint64_t) {}
};
#endif

namespace {

struct Fuzz {
    VerilatedContext context;
    std::unique_ptr<Vfuzz> top;
    SystemMemory memory;
    std::vector<uint8_t> replies;
    uint64_t cycle = 0, seed = 1;
    uint32_t pauses = 0;  // of 256 cycles in which a byte could be taken, so many pass

    // One cycle; whether a byte on the input was taken.
    bool tick() {
        seed ^= seed >> 12, seed ^= seed << 25, seed ^= seed >> 27;
        top->o_ready = ((seed * 0x2545F4914F6CDD1Dull) >> 56) >= pauses;
        top->clk = 0;
        top->eval();
        const bool taken = top->i_valid && top->i_ready;
        if (top->o_valid && top->o_ready) replies.push_back(top->o_payload);
        memory.before_edge(*top, cycle);
        top->clk = 1;
        top->eval();
        ++cycle;
        memory.after_edge(*top, cycle);
        return taken;
    }
};

}  // namespace

extern "C" {

void fuzz_reset(Fuzz* f) {
    f->top->i_valid = 0;
    f->top->rst = 1;
    f->tick();
    f->memory.reset();
    f->memory.after_edge(*f->top, f->cycle);
    f->top->rst = 0;
    f->replies.clear();
}

Fuzz* fuzz_new(uint32_t pauses, uint32_t lanes, uint32_t beats) {
    auto* f = new Fuzz;
    f->pauses = pauses;
    f->memory.start(lanes, beats);
    f->top = std::make_unique<Vfuzz>(&f->context, "fuzz");
    f->top->clk = 0;
    f->top->eval();
    fuzz_reset(f);
    return f;
}

void fuzz_delete(Fuzz* f) {
    f->top->final();
    delete f;
}

uint64_t fuzz_cycle(const Fuzz* f) { return f->cycle; }

// Send bytes for at most `limit` cycles, then wait until nothing has happened for `quiet` cycles.
// Returns how many bytes of replies stand in `out`, or -1 if the limit passed.
int64_t fuzz_exchange(Fuzz* f, const uint8_t* bytes, uint32_t count, uint32_t quiet,
                      uint64_t limit, uint8_t* out, uint32_t most) {
    const uint64_t end = f->cycle + limit;
    uint32_t sent = 0, silence = 0;
    while (sent < count || silence < quiet) {
        if (f->cycle == end) {
            f->top->i_valid = 0;
            return -1;
        }
        f->top->i_valid = sent < count;
        if (sent < count) f->top->i_payload = bytes[sent];
        const size_t before = f->replies.size();
        const bool taken = f->tick();
        sent += taken;
        silence = taken || f->top->busy || f->replies.size() != before ? 0 : silence + 1;
    }
    f->top->i_valid = 0;
    uint32_t have = 0;
    for (const uint8_t byte : f->replies)
        if (have < most) out[have++] = byte;
    f->replies.clear();
    return have;
}

}  // extern "C"
