// Drives the Verilated accelerator for ctypes: steps of one token, image, trace, waveform.
// STATE_ADDRESS_BITS: width of a state address (CoreConfig.state_address_bits).
// STREAMS, CORES: as in CoreConfig. Ports of several streams have the first one's lowest.
// EXTERNAL_MEMORY: its image memory is that of memory.hpp or, with PHASES, of dram.hpp, which stands
// before this text.
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "Vaccelerator.h"
#include "verilated.h"
#if defined(SAVABLE)
#include "verilated_save.h"
#endif
#if defined(TRACE_FST)
#include "verilated_fst_c.h"
using Wave = VerilatedFstC;
#elif defined(TRACE_VCD)
#include "verilated_vcd_c.h"
using Wave = VerilatedVcdC;
#endif

namespace {

// A port of any width as 64-bit pieces; narrow ports are plain integers, wide ones word arrays.
template <typename T>
uint64_t bits(const T& port, unsigned low, unsigned width) {
    if constexpr (std::is_integral_v<T>) {
        return (uint64_t(port) >> low) & (width == 64 ? ~0ull : (1ull << width) - 1);
    } else {
        uint64_t value = 0;
        for (unsigned k = 0; k < width; ++k) {
            const unsigned bit = low + k;
            value |= uint64_t((port[bit / 32] >> (bit % 32)) & 1) << k;
        }
        return value;
    }
}

template <typename T>
void set_bits(T& port, unsigned low, unsigned width, uint64_t value) {
    if constexpr (std::is_integral_v<T>) {
        const uint64_t mask = (width == 64 ? ~0ull : (1ull << width) - 1) << low;
        port = T((uint64_t(port) & ~mask) | ((value << low) & mask));
    } else {
        for (unsigned k = 0; k < width; ++k) {
            const unsigned bit = low + k;
            const uint32_t one = 1u << (bit % 32);
            port[bit / 32] = (port[bit / 32] & ~one) | (((value >> k) & 1) ? one : 0);
        }
    }
}

int32_t sign_extend(uint64_t value, unsigned width) {
    return int32_t(int64_t(value << (64 - width)) >> (64 - width));
}

// One traced write. Kinds: 0 vector word or element, 1 state, 2 codes.
struct Event {
    uint64_t cycle;
    uint32_t stream;
    uint32_t packet;
    uint32_t kind;
    uint32_t address;
    int32_t value;
    uint32_t unused;
};

struct Simulation {
    VerilatedContext context;
    std::unique_ptr<Vaccelerator> top;
    uint64_t cycle = 0;
    uint32_t elements = 1;
    bool tracing = false, running = false;  // running: from acceptance to result
    uint32_t code_index[STREAMS] = {}, code_packet[STREAMS] = {};
    std::vector<Event> events;
    std::vector<uint32_t> activity;  // cycles of this token by packet and cause, eight of them
#if defined(EXTERNAL_MEMORY)
    ImageMemory memory;

    bool failed() const { return memory.failed(); }
#else
    bool failed() const { return false; }
#endif
#if defined(TRACE_FST) || defined(TRACE_VCD)
    std::unique_ptr<Wave> wave;
    uint64_t wave_first = 0, wave_last = 0;
#endif

    void dump(unsigned half) {
#if defined(TRACE_FST) || defined(TRACE_VCD)
        if (wave && cycle >= wave_first && cycle <= wave_last) wave->dump(2 * cycle + half);
#else
        (void)half;
#endif
    }

    void tick() {
#if defined(EXTERNAL_MEMORY)
        memory.before_edge(*top, cycle);
#endif
        top->clk = 1;
        top->eval();
#if defined(EXTERNAL_MEMORY)
        memory.after_edge(*top, cycle + 1);
#endif
        dump(0);
        top->clk = 0;
        top->eval();
        dump(1);
        if (tracing) for (unsigned stream = 0; stream < STREAMS; ++stream) record(stream);
        if (running && !top->result_valid) {
            const uint32_t doing = top->trace_activity;  // cause in bits 2..0, packet above
            if (doing >= activity.size()) activity.resize(size_t(doing | 7) + 1);
            ++activity[doing];
        }
        ++cycle;
    }

    void record(unsigned stream) {
        constexpr unsigned element_bits = 17 + 24 * CORES, state_bits = 1 + STATE_ADDRESS_BITS;
        const unsigned word_bits = 17 + 24 * elements, write_bits = state_bits + 16 * CORES;
        const uint32_t packet = uint32_t(bits(top->trace_packet, 16 * stream, 16));
        const auto add = [&](uint32_t kind, uint32_t address, uint64_t value, unsigned width) {
            events.push_back({cycle, stream, packet, kind, address, sign_extend(value, width), 0});
        };
        if (const unsigned low = word_bits * stream; bits(top->trace_word, low, 1)) {
            const uint32_t word = uint32_t(bits(top->trace_word, low + 1, 16));
            for (uint32_t k = 0; k < elements; ++k)
                add(0, word * elements + k, bits(top->trace_word, low + 17 + 24 * k, 24), 24);
        }
        if (const unsigned low = element_bits * stream; bits(top->trace_element, low, 1)) {
            const uint32_t address = uint32_t(bits(top->trace_element, low + 1, 16));
            for (uint32_t k = 0; k < CORES; ++k)
                add(0, address + k, bits(top->trace_element, low + 17 + 24 * k, 24), 24);
        }
        if (const unsigned low = write_bits * stream; bits(top->trace_state, low, 1)) {
            const uint32_t address = uint32_t(bits(top->trace_state, low + 1, STATE_ADDRESS_BITS));
            for (uint32_t k = 0; k < CORES; ++k)
                add(1, address + k, bits(top->trace_state, low + state_bits + 16 * k, 16), 16);
        }
        if (bits(top->trace_codes_valid, stream, 1)) {
            if (code_packet[stream] != packet) code_packet[stream] = packet, code_index[stream] = 0;
            for (uint32_t k = 0; k < elements; ++k)
                add(2, code_index[stream]++, bits(top->trace_codes, 8 * (elements * stream + k), 8),
                    8);
        }
    }
};

}  // namespace

extern "C" {

Simulation* ternforge_new(uint32_t elements) {
    auto* s = new Simulation;
    s->elements = elements;
#if defined(TRACE_FST) || defined(TRACE_VCD)
    s->context.traceEverOn(true);
#endif
    s->top = std::make_unique<Vaccelerator>(&s->context, "accelerator");
    s->top->clk = 0;  // without a reset: registers start with the values that it would give them
    s->top->eval();
    return s;
}

void ternforge_delete(Simulation* s) {
#if defined(TRACE_FST) || defined(TRACE_VCD)
    if (s->wave) s->wave->close();
#endif
    s->top->final();
    delete s;
}

uint64_t ternforge_cycle(const Simulation* s) { return s->cycle; }

#if defined(PHASES)  // dram_calls.cpp
#elif defined(EXTERNAL_MEMORY)
// The image memory is `count` beats of `bytes` bytes each at `beats`, which stay the caller's.
void ternforge_map(Simulation* s, const uint8_t* beats, uint64_t count, uint32_t bytes) {
    s->memory.beats = beats, s->memory.count = count, s->memory.bytes = bytes;
}

// First beat `latency` cycles after a request; `stalls` of 2^32 cycles without a beat; `gap` cycles
// without one after each `burst` beats.
void ternforge_memory(Simulation* s, uint32_t latency, uint32_t stalls, uint32_t burst,
                      uint32_t gap, uint32_t seed) {
    s->memory.latency = latency, s->memory.stalls = stalls, s->memory.burst = burst;
    s->memory.gap = gap, s->memory.seed = seed + 1ull;
}
#else
// Write `count` beats of `bytes` bytes each, from beat address `address` up.
void ternforge_write(Simulation* s, uint32_t address, const uint8_t* beats, uint32_t count,
                     uint32_t bytes) {
    auto& port = s->top->write;
    for (uint32_t beat = 0; beat < count; ++beat) {
        set_bits(port, 0, 1, 1);
        set_bits(port, 1, 24, address + beat);
        for (uint32_t k = 0; k < bytes; ++k)
            set_bits(port, 25 + 8 * k, 8, beats[size_t(beat) * bytes + k]);
        s->tick();
    }
    set_bits(port, 0, 1, 0);
    for (int k = 0; k < 4; ++k) s->tick();
}
#endif

// Run one token of each stream; bits of `reset` and `active` belong to streams, and `chain`, `head`
// count only where there are several. Returns 0 and the resulting tokens, -1 after a fault, -2 if
// it did not end in time, -3 if the memory was used against its rules.
int32_t ternforge_step(Simulation* s, const uint32_t* tokens, uint64_t reset, uint64_t active,
                       int chain, int head, int trace, uint64_t max_cycles, uint32_t* results) {
    s->events.clear();
    for (auto& packet : s->code_packet) packet = ~0u;
    s->tracing = trace != 0;
    const uint64_t end = s->cycle + max_cycles;
    auto& top = *s->top;
    for (unsigned k = 0; k < STREAMS; ++k) {
        set_bits(top.tokens_payload, 16 * k, 16, tokens[k] & 0xFFFF);
        set_bits(top.tokens_payload, 16 * STREAMS + k, 1, reset >> k & 1);
#if STREAMS > 1
        set_bits(top.tokens_payload, 17 * STREAMS + k, 1, active >> k & 1);
#endif
    }
#if STREAMS > 1
    set_bits(top.tokens_payload, 18 * STREAMS, 1, chain != 0);
    set_bits(top.tokens_payload, 18 * STREAMS + 1, 1, head != 0);
#else
    (void)active, (void)chain, (void)head;
#endif
    top.tokens_valid = 1;
    top.result_ready = 0;
    top.eval();
    while (!top.tokens_ready) {
        if (s->cycle >= end) return -2;
        s->tick();
    }
    s->activity.clear();
    s->running = true;
    s->tick();
    top.tokens_valid = 0;
    top.eval();
    while (!top.result_valid) {
        if (top.status_fault) return s->tracing = s->running = false, -1;
        if (s->cycle >= end) return s->tracing = s->running = false, -2;
        if (s->failed()) return s->tracing = s->running = false, -3;
        s->tick();
    }
    for (unsigned k = 0; k < STREAMS; ++k)
        results[k] = uint32_t(bits(top.result_payload, 16 * k, 16));
    s->tracing = s->running = false;
    top.result_ready = 1;
    s->tick();
    top.result_ready = 0;
    top.eval();
    return 0;
}

uint32_t ternforge_token_cycles(const Simulation* s) { return s->top->status_cycles; }

void ternforge_saturations(const Simulation* s, uint32_t* five) {
    for (unsigned k = 0; k < 5; ++k) five[k] = uint32_t(bits(s->top->status_saturations, 16 * k, 16));
}

void ternforge_ratio(const Simulation* s, uint32_t stream, int32_t* mantissa, int32_t* exponent) {
    *mantissa = int32_t(bits(s->top->status_ratio, 24 * stream, 16));
    *exponent = sign_extend(bits(s->top->status_ratio, 24 * stream + 16, 8), 8);
}

// Read `count` vector elements of a stream from `address` up.
void ternforge_peek(Simulation* s, uint32_t stream, uint32_t address, uint32_t count,
                    int32_t* values) {
    for (uint32_t k = 0; k < count; ++k) {
        s->top->peek_address = address + k;
        s->tick();
        s->tick();
        s->top->eval();
        values[k] = sign_extend(bits(s->top->peek_data, 24 * stream, 24), 24);
    }
}

uint64_t ternforge_events(const Simulation* s, const Event** events) {
    *events = s->events.data();
    return s->events.size();
}

uint64_t ternforge_activity(const Simulation* s, const uint32_t** cycles) {
    *cycles = s->activity.data();
    return s->activity.size();
}

#if defined(SAVABLE)
// Write the state between two tokens to a file; -1 if it cannot be written.
int ternforge_save(Simulation* s, const char* path) {
    VerilatedSave file;
    file.open(path);
    if (!file.isOpen()) return -1;
    file << s->cycle;
#if defined(EXTERNAL_MEMORY)
    s->memory.state(file, [](auto& archive, auto& field) { archive << field; });
#endif
    file << *s->top;
    file.close();
    return 0;
}

// Read such a file, which must be of this library; -1 if it cannot be read.
int ternforge_restore(Simulation* s, const char* path) {
    VerilatedRestore file;
    file.open(path);
    if (!file.isOpen()) return -1;
    file >> s->cycle;
#if defined(EXTERNAL_MEMORY)
    s->memory.state(file, [](auto& archive, auto& field) { archive >> field; });
#endif
    file >> *s->top;
    file.close();
    return 0;
}
#endif

// Record cycles first..last to `path`, cycle n at times 2n and 2n+1; returns 0, or -1 if waveforms were not compiled in.
int ternforge_wave(Simulation* s, const char* path, uint64_t first, uint64_t last) {
#if defined(TRACE_FST) || defined(TRACE_VCD)
    if (s->wave) s->wave->close();
    s->wave = std::make_unique<Wave>();
    s->wave_first = first;
    s->wave_last = last;
    s->top->trace(s->wave.get(), 99);
    s->wave->open(path);
    return 0;
#else
    (void)s, (void)path, (void)first, (void)last;
    return -1;
#endif
}

void ternforge_wave_close(Simulation* s) {
#if defined(TRACE_FST) || defined(TRACE_VCD)
    if (s->wave) s->wave->close();
    s->wave.reset();
#else
    (void)s;
#endif
}

}  // extern "C"
