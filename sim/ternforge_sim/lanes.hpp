// The lanes of a core as one function, in place of their Verilog: see behavioural.py.
// LANES: bytes of packed weights in a row of a beat (CoreConfig.row_lanes).
// PAIRS: weights come decoded, two bits each (CoreConfig.decodes_ahead).
// Vectors are as the DPI passes them: from bit 0 up, in words of 32 bits. Little-endian machines only.
#include <cstdint>
#include <cstring>

#if defined(PAIRS)

// Zero in the even bit, sign in the odd one. Streams have codes of their own, so that nothing is kept.
extern "C" int ternforge_dot_product(const uint32_t* weights, const uint32_t* codes) {
    static const int8_t trits[4] = {1, 0, -1, 0};
    int8_t code[5 * LANES];
    std::memcpy(code, codes, sizeof code);
    int sum = 0;
    for (unsigned k = 0; k < 5 * LANES; ++k)
        sum += trits[weights[k / 16] >> (2 * (k % 16)) & 3] * code[k];
    return sum;
}

#else

namespace {

// Trit k of a byte of packed weights, as core/decoder.py has it: -1, 0 or 1 for any byte.
int trit(unsigned byte, unsigned k) {
    const bool escape = byte >> 6 == 3, lone = byte >> 2 & 1;
    const unsigned low = byte & 3, middle = byte >> 3 & 7;
    if (k == 4) {
        const unsigned single = !escape ? byte >> 6 : low == 3 ? middle & 3 : low;
        return single ? (single & 2 ? -1 : 1) : 0;
    }
    const unsigned pair = k < 2 && !escape ? byte & 7 : middle;
    if (escape && (k < 2 ? !lone || low == 3 : lone)) return 0;
    const bool one = pair >> 2 & 1, which = pair >> 1 & 1, odd = k & 1;
    if (one && which != odd) return 0;
    return (odd && !one ? which : pair & 1) ? -1 : 1;
}

// What each byte of weights contributes, for the codes that are in the lanes. They stay there for
// all rows of a tile.
struct Contributions {
    int8_t trits[5][256];
    int8_t codes[5 * LANES] = {};
    int16_t of[LANES][256] = {};

    Contributions() {
        for (unsigned k = 0; k < 5; ++k)
            for (unsigned byte = 0; byte < 256; ++byte) trits[k][byte] = int8_t(trit(byte, k));
    }

    void change(const void* to) {
        std::memcpy(codes, to, sizeof codes);
        for (unsigned lane = 0; lane < LANES; ++lane)
            for (unsigned byte = 0; byte < 256; ++byte) {
                int sum = 0;
                for (unsigned k = 0; k < 5; ++k) sum += trits[k][byte] * codes[5 * lane + k];
                of[lane][byte] = int16_t(sum);
            }
    }
};

}  // namespace

extern "C" int ternforge_dot_product(const uint32_t* weights, const uint32_t* codes) {
    static thread_local Contributions contributions;
    if (std::memcmp(contributions.codes, codes, sizeof contributions.codes))
        contributions.change(codes);
    uint8_t bytes[LANES];
    std::memcpy(bytes, weights, sizeof bytes);
    int sum = 0;
    for (unsigned lane = 0; lane < LANES; ++lane) sum += contributions.of[lane][bytes[lane]];
    return sum;
}

#endif
