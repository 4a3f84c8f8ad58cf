// Block RAM, single-port RAM and multipliers of the iCE40, for gates.cpp.
#include <cstdint>
#include <vector>

namespace {

enum Kind : uint32_t { BLOCK_RAM, SINGLE_PORT_RAM, MULTIPLIER };

struct Block {
    uint32_t kind, first_in, ins, first_out, outs, first_parameter, delay;
};

struct Access {
    uint64_t reads = 0, writes = 0, uses = 0;
    bool reading = false, writing = false;  // at the last edge
};

int64_t extend(uint32_t value, unsigned bits, bool is_signed) {
    if (is_signed && (value >> (bits - 1) & 1)) return int64_t(value) - (int64_t(1) << bits);
    return value;
}

struct HardBlocks {
    std::vector<Block> blocks;
    std::vector<uint32_t> pins;        // nets of the blocks' inputs and outputs
    std::vector<uint32_t> parameters;  // of the blocks
    std::vector<uint8_t> value;        // of each net
    std::vector<std::vector<uint16_t>> memory;     // of each block
    std::vector<std::vector<uint32_t>> registers;  // of each block
    std::vector<Access> accesses;
    bool counting = false;

    virtual ~HardBlocks() = default;
    virtual void change(uint32_t net, bool to) = 0;

    uint32_t field(const Block& b, uint32_t from, uint32_t bits) const {
        uint32_t word = 0;
        for (uint32_t k = 0; k < bits; ++k) word |= uint32_t(value[pins[b.first_in + from + k]]) << k;
        return word;
    }

    // Addresses above 255 choose bits of a word: width 16 >> mode, every (1 << mode)-th bit.
    void block_ram(uint32_t index) {
        const Block& b = blocks[index];
        const uint32_t* p = &parameters[b.first_parameter];
        const uint32_t read_mode = p[0], write_mode = p[1];
        const uint32_t read_address = field(b, 0, 11), write_address = field(b, 13, 11);
        auto& words = memory[index];
        auto& out = registers[index];
        const bool reads = field(b, 11, 1) && field(b, 12, 1);
        const bool writes = field(b, 24, 1) && field(b, 25, 1);
        if (reads) {
            const uint32_t word = words[read_address & 255], step = 1u << read_mode;
            const uint32_t place = read_address >> 8 & (step - 1);
            uint32_t seen = word;
            if (read_mode) {
                seen = 0;  // a value of width w comes out at the middle of each of w groups of bits
                for (uint32_t group = 0; group < 16; group += step)
                    seen |= (word >> (group + place) & 1) << (group + step / 2 - 1);
            }
            out[0] = seen;
        }
        if (writes) {
            const uint32_t data = field(b, 42, 16), step = 1u << write_mode;
            const uint32_t place = write_address >> 8 & (step - 1);
            uint32_t kept = write_mode ? 0xFFFF : field(b, 26, 16), moved = data;
            if (write_mode) {
                moved = 0;
                for (uint32_t group = 0; group < 16; group += step) {
                    kept &= ~(1u << (group + place));
                    moved |= (data >> (group + step / 2 - 1) & 1) << (group + place);
                }
            }
            uint16_t& word = words[write_address & 255];
            word = uint16_t((word & kept) | (moved & ~kept));
        }
        accesses[index].reading = reads, accesses[index].writing = writes;
    }

    void single_port_ram(uint32_t index) {
        const Block& b = blocks[index];
        const bool off = field(b, 37, 1) || !field(b, 38, 1);
        auto& out = registers[index];
        accesses[index].reading = accesses[index].writing = false;
        if (off) { out[0] = 0; return; }
        if (field(b, 36, 1) || !field(b, 35, 1)) return;
        uint16_t& word = memory[index][field(b, 0, 14)];
        if (field(b, 34, 1)) {
            const uint32_t enables = field(b, 30, 4), data = field(b, 14, 16);
            for (uint32_t k = 0; k < 4; ++k)
                if (enables >> k & 1)
                    word = uint16_t((word & ~(15u << 4 * k)) | (data & 15u << 4 * k));
            accesses[index].writing = true;
        } else {
            out[0] = word;
            accesses[index].reading = true;
        }
    }

    // A multiplier block with its adders; registers: C A B D F J K G H Q S in this order.
    enum { RC, RA, RB, RD, RF, RJ, RK, RG, RH, RQ, RS, HELD };
    enum { PC, PA, PB, PD, PTOP, PBOT, PONE, PTWO, TOP_OUT, TOP_LOW, TOP_HIGH, TOP_CARRY, BOT_OUT,
           BOT_LOW, BOT_HIGH, BOT_CARRY, EIGHT, SIGNED_A, SIGNED_B };

    // `edge`: take the registers; otherwise show the outputs.
    void multiplier(uint32_t index, bool edge) {
        const Block& b = blocks[index];
        const uint32_t* p = &parameters[b.first_parameter];
        auto& r = registers[index];
        const auto bit = [&](uint32_t k) { return field(b, 64 + k, 1); };
        const uint32_t c_in = field(b, 0, 16), a_in = field(b, 16, 16), b_in = field(b, 32, 16),
                       d_in = field(b, 48, 16);
        const uint32_t c = p[PC] ? r[RC] : c_in, a = p[PA] ? r[RA] : a_in;
        const uint32_t bb = p[PB] ? r[RB] : b_in, d = p[PD] ? r[RD] : d_in;
        const bool eight = p[EIGHT];
        const int64_t ah = extend(a >> 8, 8, p[SIGNED_A]), bh = extend(bb >> 8, 8, p[SIGNED_B]);
        const int64_t al = extend(a & 255, 8, p[SIGNED_A] && eight);
        const int64_t bl = extend(bb & 255, 8, p[SIGNED_B] && eight);
        const uint32_t f_now = ah * bh & 0xFFFF, j_now = (al & 255) * bh & 0xFFFF,
                       k_now = ah * (bl & 255) & 0xFFFF, g_now = al * bl & 0xFFFF;
        const uint32_t f = p[PTOP] ? r[RF] : f_now, g = p[PBOT] ? r[RG] : g_now;
        const uint32_t j = p[PONE] ? r[RJ] : j_now, k = p[PONE] ? r[RK] : k_now;
        const uint32_t l = g + (uint32_t(extend(k, 16, p[SIGNED_A])) << 8) +
                           (uint32_t(extend(j, 16, p[SIGNED_B])) << 8) + (f << 16);
        const uint32_t h = p[PTWO] ? r[RH] : l;
        // CE AHOLD BHOLD CHOLD DHOLD IRSTTOP IRSTBOT ORSTTOP ORSTBOT OLOADTOP OLOADBOT ADDSUBTOP
        // ADDSUBBOT OHOLDTOP OHOLDBOT CI ACCUMCI SIGNEXTIN
        const uint32_t top_minus = bit(11) ? 0xFFFF : 0, low_minus = bit(12) ? 0xFFFF : 0;
        const uint32_t y = p[BOT_HIGH] ? d : r[RS];
        const uint32_t low_choices[] = {bb, g, h & 0xFFFF, bit(17) ? 0xFFFFu : 0u};
        const uint32_t z = low_choices[p[BOT_LOW]];
        const uint32_t low_carries[] = {0, 1, bit(16), bit(15)};
        const uint32_t low = z + (y ^ low_minus) + low_carries[p[BOT_CARRY]];
        const uint32_t low_out = low >> 16 & 1, rr = bit(10) ? d : (low & 0xFFFF) ^ low_minus;
        const uint32_t w = p[TOP_HIGH] ? c : r[RQ];
        const uint32_t top_choices[] = {a, f, h >> 16, z >> 15 ? 0xFFFFu : 0u};
        const uint32_t x = top_choices[p[TOP_LOW]];
        const uint32_t top_carries[] = {0, 1, low_out, low_out ^ bit(12)};
        const uint32_t top = x + (w ^ top_minus) + top_carries[p[TOP_CARRY]];
        const uint32_t top_out = top >> 16 & 1, pp = bit(9) ? c : (top & 0xFFFF) ^ top_minus;
        if (edge) {
            if (counting) {
                const uint32_t operands = (a_in << 16) | b_in;
                accesses[index].uses += operands != r[HELD];
                r[HELD] = operands;
            }
            const bool on = bit(0);
            const auto take = [&](int which, uint32_t next, bool held, bool reset) {
                if (reset) r[which] = 0;
                else if (on && !held) r[which] = next;
            };
            take(RC, c_in, bit(3), bit(5)), take(RA, a_in, bit(1), bit(5));
            take(RB, b_in, bit(2), bit(6)), take(RD, d_in, bit(4), bit(6));
            take(RF, f_now, false, bit(5)), take(RJ, j_now, eight, bit(5));
            take(RK, k_now, eight, bit(6)), take(RG, g_now, false, bit(6));
            take(RH, l, eight, bit(6));
            take(RQ, pp, bit(13), bit(7)), take(RS, rr, bit(14), bit(8));
            return;
        }
        const uint32_t highs[] = {pp, r[RQ], f, h >> 16}, lows[] = {rr, r[RS], g, h & 0xFFFF};
        const uint32_t word = highs[p[TOP_OUT]] << 16 | lows[p[BOT_OUT]];
        for (uint32_t n = 0; n < 32; ++n) change(pins[b.first_out + n], word >> n & 1);
        change(pins[b.first_out + 32], top_out ^ bit(11));
        change(pins[b.first_out + 33], top_out);
        change(pins[b.first_out + 34], x >> 15);
    }
};

}  // namespace
