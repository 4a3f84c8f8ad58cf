// Why the core waits for its memory: stands between dram.hpp and harness.cpp, with DRAM_WAITS.
// A cycle in which the core waits belongs to the pause between two READs that its beat would have
// come through, `delay` cycles before: to a refresh, if the chip had one in that pause, else to a
// change of the row, if one was closed or opened; else to neither.
struct WatchedDram : DramModel {
    enum Reason : uint8_t { neither, row, refresh };
    static constexpr uint32_t waits_for_memory = 4;  // Cause.MEMORY of the sequencer
    static constexpr uint64_t pipeline = 3;  // cycles from the PHY's data to the core, about
    static constexpr uint64_t slack = 4;  // by which `delay` may be wrong

    struct Read {
        uint64_t cycle;
        Reason pause;  // before it
    };
    uint64_t waits[3] = {};
    std::deque<Read> recent;
    std::deque<uint64_t> open;  // moments whose pause has not ended yet
    Reason pause = neither;

    Reason reason(uint64_t moment) const {
        Reason found = neither;
        for (const Read& read : recent) {
            if (read.cycle + slack < moment) continue;
            found = std::max(found, read.pause);
            if (read.cycle >= moment + slack) break;
        }
        return found;
    }

    template <typename Top>
    void before_edge(const Top& top, uint64_t now) {
        const uint64_t read = reads, refreshed = refreshes, changed = activates + precharges;
        DramModel::before_edge(top, now);
        if (activates + precharges != changed) pause = std::max(pause, row);
        if (refreshes != refreshed) pause = refresh;
        if (reads != read) {
            const uint64_t usual = n.ddr3 ? 2 : 1;  // cycles between two READs without a pause
            const bool paused = recent.empty() || now - recent.back().cycle > usual;
            recent.push_back({now, paused ? pause : neither});
            pause = neither;
        }
        const uint64_t delay = n.read_latency + pipeline;
        if ((top.trace_activity & 7) == waits_for_memory && now >= delay) open.push_back(now - delay);
        while (!open.empty() && !recent.empty() && recent.back().cycle >= open.front() &&
               now >= open.front() + slack) {
            ++waits[reason(open.front())];
            open.pop_front();
        }
        const uint64_t oldest = open.empty() ? now - std::min(now, delay) : open.front();
        while (recent.size() > 1 && recent.front().cycle + slack < oldest) recent.pop_front();
    }
};

using ImageMemory = WatchedDram;
