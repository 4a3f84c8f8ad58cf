// Blocks of the ECP5 and of Gowin parts, behind blocks.hpp: dual-port RAM, small RAM of tables that
// is read without a clock, and multiplier. Their pins have the order of netsim/elements.py.

namespace {

enum FamilyKind : uint32_t { DUAL_PORT_RAM = MULTIPLIER + 1, TABLE_RAM, PRODUCT };

struct FamilyBlocks : HardBlocks {
    std::vector<std::vector<uint64_t>> held;  // of each block: words read, then output registers

    static bool combinational(uint32_t kind) { return kind >= MULTIPLIER && kind != DUAL_PORT_RAM; }

    uint64_t wide_field(const Block& b, uint32_t from, uint32_t bits) const {
        return field(b, from, bits < 18 ? bits : 18) |
               (bits > 18 ? uint64_t(field(b, from + 18, bits - 18)) << 18 : 0);
    }

    // Pins of a port: address, data, byte enables, write, clock enable, enable of the register.
    enum { ADDRESS = 0, DATA = 14, BYTES = 50, WRITE = 54, ENABLE, LATER, PORT_PINS };
    // Parameters: of each port width, write mode, which halves of its outputs have a register.
    enum { WIDTH, MODE, LATE, PORT_PARAMETERS };
    enum { NO_CHANGE, WRITE_THROUGH, READ_FIRST };

    // Words of 9 bits; widths below 9 take 8 of each. An address counts bits of widths 1 to 8.
    uint64_t seen(uint32_t index, uint32_t address, uint32_t width) const {
        const auto& words = memory[index];
        const uint32_t word = address >> 3;
        if (width < 9) return words[word] >> (address & 7 & ~(width - 1)) & ((1u << width) - 1);
        uint64_t all = 0;
        for (uint32_t n = 0; n < width / 9; ++n)
            all |= uint64_t(words[(word & ~(width / 9 - 1)) + n]) << 9 * n;
        return all;
    }

    void put(uint32_t index, uint32_t address, uint32_t width, uint64_t data, uint32_t bytes) {
        auto& words = memory[index];
        const uint32_t word = address >> 3;
        if (width < 9) {
            const uint32_t place = address & 7 & ~(width - 1), mask = (1u << width) - 1;
            words[word] = uint16_t((words[word] & ~(mask << place)) | (data & mask) << place);
            return;
        }
        for (uint32_t n = 0; n < width / 9; ++n)
            if (width == 9 || bytes >> n & 1)
                words[(word & ~(width / 9 - 1)) + n] = data >> 9 * n & 511;
    }

    // Which bits that a port reads the other one writes.
    static uint64_t written(uint32_t read, uint32_t read_width, uint32_t write, uint32_t write_width,
                            uint32_t bytes) {
        const uint32_t reads = read_width < 9 ? 1 : read_width / 9;
        const uint32_t writes = write_width < 9 ? 1 : write_width / 9;
        const uint32_t from = read >> 3 & ~(reads - 1), to = write >> 3 & ~(writes - 1);
        uint64_t all = 0;
        for (uint32_t n = 0; n < writes; ++n) {
            if (to + n < from || to + n >= from + reads) continue;
            if (write_width > 9 && !(bytes >> n & 1)) continue;
            const uint64_t bits = write_width >= 9 ? 511 : uint64_t((1u << write_width) - 1)
                                                              << (write & 7 & ~(write_width - 1));
            all |= read_width >= 9 ? bits << 9 * (to + n - from)
                                   : bits >> (read & 7 & ~(read_width - 1));
        }
        return all;
    }

    // What the other port writes at the same edge is undefined: it is read inverted, so that whatever
    // depends on it shows.
    void dual_port_ram(uint32_t index) {
        const Block& b = blocks[index];
        const uint32_t* p = &parameters[b.first_parameter];
        auto& state = held[index];
        uint32_t address[2];
        bool enabled[2], writes[2];
        for (uint32_t port = 0; port < 2; ++port) {
            const uint32_t pin = port * PORT_PINS;
            address[port] = field(b, pin + ADDRESS, 14);
            enabled[port] = field(b, pin + ENABLE, 1);
            writes[port] = enabled[port] && field(b, pin + WRITE, 1);
            if (field(b, pin + LATER, 1)) state[2 + port] = state[port];
        }
        uint64_t word[2];
        for (uint32_t port = 0; port < 2; ++port) {
            const uint32_t width = p[port * PORT_PARAMETERS + WIDTH];
            word[port] = seen(index, address[port], width);
            if (!writes[!port]) continue;
            word[port] ^= written(address[port], width, address[!port],
                                  p[!port * PORT_PARAMETERS + WIDTH],
                                  field(b, !port * PORT_PINS + BYTES, 4));
        }
        for (uint32_t port = 0; port < 2; ++port) {
            const uint32_t pin = port * PORT_PINS;
            const uint32_t* q = p + port * PORT_PARAMETERS;
            if (writes[port])
                put(index, address[port], q[WIDTH], wide_field(b, pin + DATA, 36),
                    field(b, pin + BYTES, 4));
            if (!enabled[port] || (writes[port] && q[MODE] == NO_CHANGE)) continue;
            state[port] = writes[port] && q[MODE] == WRITE_THROUGH
                              ? seen(index, address[port], q[WIDTH]) : word[port];
        }
        accesses[index].reading = (enabled[0] && !writes[0]) || (enabled[1] && !writes[1]);
        accesses[index].writing = writes[0] || writes[1];
    }

    // Pins: address to read, address to write, data, write; 16 words of 4 bits.
    void table_ram(uint32_t index) {
        const Block& b = blocks[index];
        accesses[index].writing = field(b, 12, 1);
        if (accesses[index].writing) memory[index][field(b, 4, 4)] = uint16_t(field(b, 8, 4));
    }

    // Pins: factors of 18 bits, whether each is signed. Parameters: widths, register of the product.
    uint64_t product(const Block& b) const {
        const uint32_t* p = &parameters[b.first_parameter];
        const int64_t x = extend(field(b, 0, 18), p[0], field(b, 36, 1));
        const int64_t y = extend(field(b, 18, 18), p[1], field(b, 37, 1));
        return uint64_t(x * y);
    }

    void family_edge(uint32_t index) {
        const Block& b = blocks[index];
        if (b.kind == DUAL_PORT_RAM) dual_port_ram(index);
        else if (b.kind == TABLE_RAM) table_ram(index);
        else held[index][0] = product(b);
    }

    void family_show(uint32_t index) {
        const Block& b = blocks[index];
        const uint32_t* p = &parameters[b.first_parameter];
        if (b.kind == DUAL_PORT_RAM) {
            for (uint32_t port = 0; port < 2; ++port)
                for (uint32_t n = 0; n < 36; ++n) {
                    const bool late = p[port * PORT_PARAMETERS + LATE] >> (n >= 18) & 1;
                    change(pins[b.first_out + 36 * port + n],
                           held[index][(late ? 2 : 0) + port] >> n & 1);
                }
            return;
        }
        const uint64_t word = b.kind == TABLE_RAM ? memory[index][field(b, 0, 4)]
                              : p[2] ? held[index][0] : product(b);
        for (uint32_t n = 0; n < b.outs; ++n) change(pins[b.first_out + n], word >> n & 1);
    }
};

}  // namespace
