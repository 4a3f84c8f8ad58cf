// Read delays of a DDR3 PHY, byte group by byte group. LEVELS: there is one; else reads are right.
#include <cstdint>
#include <vector>

#if defined(LEVELS)
struct ReadLevels {
    std::vector<uint8_t> delay, slip, seen;

    void set(uint32_t groups) {
        delay.assign(groups, 0), slip.assign(groups, 0), seen.assign(groups, 0);
    }

    // Group g reads right with slip (g + 1) % 4 and delays 2 + g to 6, and sees a burst only then.
    bool right(uint32_t g) const {
        return slip[g] == (g + 1) % 4 && delay[g] >= 2 + g && delay[g] <= 6;
    }

    void read(std::vector<uint8_t>& bytes) {
        const uint32_t groups = uint32_t(delay.size());
        for (uint32_t g = 0; g < groups; ++g) {
            seen[g] |= right(g);
            for (uint32_t k = g; !right(g) && k < bytes.size(); k += groups)
                bytes[k] ^= uint8_t(0x11 << delay[g] % 4);
        }
    }

    template <typename Top>
    void before_edge(const Top& top) {
        for (uint32_t g = 0; g < delay.size(); ++g) {
            if (top.level_burst_clear) seen[g] = 0;
            if (!(top.level_select >> g & 1)) continue;
            if (top.level_delay_reset) delay[g] = 0;
            else if (top.level_delay_step) delay[g] = (delay[g] + 1) % 8;
            if (top.level_slip_reset) slip[g] = 0;
            else if (top.level_slip_step) slip[g] = (slip[g] + 1) % 4;
        }
    }

    template <typename Top>
    void after_edge(Top& top) const {
        top.level_burst_seen = 0;
        for (uint32_t g = 0; g < delay.size(); ++g) top.level_burst_seen |= seen[g] << g;
    }
};
#else
struct ReadLevels {
    void set(uint32_t) {}
    void read(std::vector<uint8_t>&) {}
    template <typename Top> void before_edge(const Top&) {}
    template <typename Top> void after_edge(Top&) const {}
};
#endif
