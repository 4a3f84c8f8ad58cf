// A memory behind the core's linear read port: beats that lie in the caller's memory, after a
// latency, with pauses. Little-endian machines only: beats are copied byte by byte into the port.
#include <cstdint>
#include <cstring>
#include <deque>

struct MemoryModel {
    struct Request {
        uint64_t cycle;  // of its first beat
        uint64_t address, end;
    };

    const uint8_t* beats = nullptr;
    uint64_t count = 0;
    uint32_t bytes = 0;
    uint32_t latency = 1, burst = 0, gap = 0;
    uint64_t stalls = 0;  // of 2^32 cycles in which a beat could come, so many pass without one
    uint64_t seed = 1;    // never 0
    std::deque<Request> requests;
    bool offered = false;
    uint64_t since_gap = 0, pause_until = 0;

    // All that changes while it runs, to an archive or from it.
    template <typename Archive, typename Move>
    void state(Archive& archive, Move move) {
        uint64_t waiting = requests.size();
        move(archive, waiting);
        requests.resize(waiting);
        for (auto& request : requests)
            move(archive, request.cycle), move(archive, request.address),
                move(archive, request.end);
        move(archive, offered), move(archive, since_gap), move(archive, pause_until);
        move(archive, seed);
    }

    bool failed() const { return false; }

    bool stall() {  // xorshift64*
        seed ^= seed >> 12, seed ^= seed << 25, seed ^= seed >> 27;
        return (seed * 0x2545F4914F6CDD1Dull) >> 32 < stalls;
    }

    // What the core and the memory saw of each other in `cycle`, before its clock edge.
    template <typename Top>
    void before_edge(const Top& top, uint64_t cycle) {
        if (top.memory_request_valid && top.memory_request_ready) {
            const uint64_t address = top.memory_request_payload & 0xFFFFFF;
            const uint64_t length = (top.memory_request_payload >> 24) & 0xFFFFFF;
            requests.push_back({cycle + latency, address, address + length});
        }
        if (offered && top.memory_data_ready) {
            offered = false;
            if (++requests.front().address == requests.front().end) requests.pop_front();
            if (burst && ++since_gap == burst) since_gap = 0, pause_until = cycle + 1 + gap;
        }
        if (top.memory_stop && !offered) requests.clear();
    }

    // What the memory does in the next cycle, which is `cycle`.
    template <typename Top>
    void after_edge(Top& top, uint64_t cycle) {
        if (!offered && !requests.empty() && requests.front().cycle <= cycle &&
            pause_until <= cycle && !(stalls && stall())) {
            offered = true;
            const uint64_t address = requests.front().address;
            std::memset(&top.memory_data_payload, 0, sizeof top.memory_data_payload);
            if (address < count)
                std::memcpy(&top.memory_data_payload, beats + address * bytes, bytes);
        }
        top.memory_data_valid = offered;
        top.memory_request_ready = requests.size() < 2;
        top.memory_idle = requests.empty();
    }
};

using ImageMemory = MemoryModel;
