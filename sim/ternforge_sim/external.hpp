// The image memory of a system, outside of its chip: MemoryModel with a port for writes.
#include <cstdlib>
#define SYSTEM_MEMORY

struct SystemMemory {
    enum Option : uint32_t {
        BYTES, BEATS, LATENCY, BURST, GAP, STALLS, SEED, WRITE_WAIT, STATE, READY_AT, STUCK_AT
    };

    MemoryModel reads;
    uint8_t* store = nullptr;
    uint64_t write_wait = 0;             // cycles that a write waits for
    uint64_t waited = 0;
    uint64_t state = 0, ready_at = 0;    // what it says of itself, after `ready_at` cycles
    uint64_t stuck_at = ~uint64_t(0);    // beat that keeps its lowest bit at 0
    bool takes = false;

    ~SystemMemory() { std::free(store); }

    void start(uint32_t bytes, uint64_t beats) { set(BYTES, bytes), set(BEATS, beats); }

    // The core forgets what it asked for.
    void reset() { reads.requests.clear(), reads.offered = false, waited = 0; }

    void set(uint32_t number, uint64_t value) {
        switch (number) {
            case BYTES: reads.bytes = uint32_t(value); break;
            case BEATS:  // zeroed by the system, page by page, as they are used
                store = static_cast<uint8_t*>(std::calloc(value, reads.bytes));
                reads.beats = store, reads.count = value;
                break;
            case LATENCY: reads.latency = uint32_t(value); break;
            case BURST: reads.burst = uint32_t(value); break;
            case GAP: reads.gap = uint32_t(value); break;
            case STALLS: reads.stalls = value; break;
            case SEED: reads.seed = value; break;
            case WRITE_WAIT: write_wait = value; break;
            case STATE: state = value; break;
            case READY_AT: ready_at = value; break;
            case STUCK_AT: stuck_at = value; break;
        }
    }

    template <typename Top>
    void before_edge(const Top& top, uint64_t cycle) {
        reads.before_edge(top, cycle);
        if (!top.write_valid) {
            waited = 0;
        } else if (takes) {
            const auto* payload = reinterpret_cast<const uint8_t*>(&top.write_payload);
            const uint64_t address = payload[0] | payload[1] << 8 | payload[2] << 16;
            waited = 0;
            if (address < reads.count) {
                std::memcpy(store + address * reads.bytes, payload + 3, reads.bytes);
                if (address == stuck_at) store[address * reads.bytes] &= 0xFE;
            }
        } else {
            ++waited;
        }
    }

    template <typename Top>
    void after_edge(Top& top, uint64_t cycle) {
        reads.after_edge(top, cycle);
        top.write_ready = takes = waited >= write_wait;
        top.memory_state = cycle < ready_at ? 1 : uint8_t(state);
    }
};
