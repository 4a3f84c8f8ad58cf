// An SPI flash at the pins flash_*: mode 0, release from power-down (AB) and read (03), and what a
// real one does with anything else: nothing.
#include <cstdint>
#define SYSTEM_FLASH

struct FlashModel {
    static constexpr uint32_t wake_cycles = 100;  // from its release until it hears commands

    const uint8_t* contents = nullptr;
    uint64_t size = 0;
    uint64_t offset = 0;     // of the contents; all else is erased
    bool asleep = true, selected = false, clock = false, reads = false;
    uint64_t awake_at = ~uint64_t(0);
    uint32_t bits = 0, word = 0;
    uint64_t place = 0;
    bool out = true;         // what it drives, or the resistor where it does not

    uint8_t byte(uint64_t address) const {
        return address >= offset && address - offset < size ? contents[address - offset] : 0xFF;
    }

    // What the pins show behind a clock edge of the board.
    template <typename Top>
    void after_edge(Top& top, uint64_t cycle) {
        if (asleep && awake_at <= cycle) asleep = false;
        if (top.flash_cs_n) {
            if (selected && bits == 8 && (word & 0xFF) == 0xAB) awake_at = cycle + wake_cycles;
            selected = reads = false, out = true;
        } else if (!selected) {
            selected = true, bits = word = 0, clock = top.flash_sck;
        } else if (top.flash_sck && !clock) {
            word = word << 1 | (top.flash_copi & 1);
            if (++bits == 32 && !asleep && word >> 24 == 0x03)
                reads = true, place = uint64_t(word & 0xFFFFFF) * 8;
        } else if (!top.flash_sck && clock && reads) {
            out = byte(place / 8 & 0xFFFFFF) >> (7 - place % 8) & 1;
            ++place;
        }
        clock = top.flash_sck;
        top.flash_cipo = out;
    }
};
