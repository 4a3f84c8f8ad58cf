// Simulates a netlist of look-up tables, flip-flops and hard blocks with a delay per cell, and counts
// how often each net changes. A change that would be undone before the delay of a cell is over does
// not pass it (inertial delay). One clock; memories and multipliers act on its edge.
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr uint32_t WHEEL = 64;        // delays are below it
constexpr uint8_t PIPELINE = 6;       // edges after which a block without new inputs is at rest
constexpr uint64_t TOO_LONG = 1 << 20;  // time steps of a cycle: something oscillates

struct Table {
    uint32_t in[4], out, init, delay;
};

struct FlipFlop {
    uint32_t data, enable, reset, out, value;  // `value` is taken when reset
};

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

struct Simulation {
    std::vector<Table> tables;
    std::vector<FlipFlop> flip_flops;
    std::vector<Block> blocks;
    std::vector<uint32_t> pins;        // nets of the blocks' inputs and outputs
    std::vector<uint32_t> parameters;  // of the blocks
    std::vector<uint32_t> fan_start, fan;  // what reads each net: tables, blocks, flip-flops

    std::vector<uint8_t> value;
    std::vector<uint64_t> toggles, settled;
    std::vector<uint8_t> before;
    std::vector<uint64_t> stamp;
    std::vector<uint32_t> touched;

    std::vector<std::vector<uint32_t>> wheel{WHEEL};
    std::vector<uint64_t> due;  // time at which a node's change is to happen; 0: none
    std::vector<uint64_t> marked;
    std::vector<uint32_t> dirty;  // tables and multipliers with a changed input
    std::vector<uint32_t> moved;  // flip-flops with a changed input since the last edge
    std::vector<uint8_t> moves;   // of each flip-flop, whether it is among them
    std::vector<uint8_t> accumulates;  // of each block, whether its adders take in their own sum
    std::vector<uint8_t> awake;   // of each block: edges until nothing in it changes
    uint64_t now = 1, mark = 1, cycle = 0, pending = 0;
    bool enabled = false, counting = false, oscillates = false;
    uint32_t watched = 1;  // cycles count that begin with this net high, or low
    bool watched_level = true;
    uint64_t counted = 0;

    std::vector<std::vector<uint16_t>> memory;       // of each block
    std::vector<std::vector<uint32_t>> registers;    // of each block
    std::vector<Access> accesses;
    std::vector<std::pair<uint32_t, uint8_t>> inputs;  // to change after the next edge

    uint32_t field(const Block& b, uint32_t from, uint32_t bits) const {
        uint32_t word = 0;
        for (uint32_t k = 0; k < bits; ++k) word |= uint32_t(value[pins[b.first_in + from + k]]) << k;
        return word;
    }

    void toggle(uint32_t net) {
        const uint8_t old = value[net];
        value[net] = !old;
        if (counting) {
            ++toggles[net];
            if (stamp[net] != cycle) stamp[net] = cycle, before[net] = old, touched.push_back(net);
        }
        for (uint32_t k = fan_start[net]; k < fan_start[net + 1]; ++k) wake(fan[k]);
    }

    void wake(uint32_t node) {
        const uint32_t after_tables = node - uint32_t(tables.size());
        if (node >= tables.size() + blocks.size()) {
            const uint32_t f = after_tables - uint32_t(blocks.size());
            if (!moves[f]) moves[f] = 1, moved.push_back(f);
            return;
        }
        if (node >= tables.size()) {
            awake[after_tables] = PIPELINE;
            if (blocks[after_tables].kind != MULTIPLIER) return;
        }
        if (marked[node] != mark) marked[node] = mark, dirty.push_back(node);
    }

    void change(uint32_t net, bool to) {
        if (net > 1 && value[net] != uint8_t(to)) toggle(net);
    }

    uint8_t look_up(const Table& t) const {
        return t.init >> (value[t.in[0]] | value[t.in[1]] << 1 | value[t.in[2]] << 2 |
                          value[t.in[3]] << 3) & 1;
    }

    void schedule(uint32_t node, uint32_t delay) {
        due[node] = now + delay;
        wheel[due[node] % WHEEL].push_back(node);
        ++pending;
    }

    // Decide of each node with a changed input whether, and when, its output changes.
    void decide() {
        for (uint32_t node : dirty) {
            if (node >= tables.size()) {
                if (!due[node]) schedule(node, blocks[node - tables.size()].delay);
                continue;
            }
            const Table& t = tables[node];
            if (look_up(t) == value[t.out]) due[node] = 0;  // too short to pass
            else if (!due[node]) schedule(node, t.delay);
        }
        dirty.clear();
        ++mark;
    }

    void settle() {
        decide();
        const uint64_t start = now;
        while (pending) {
            if (++now - start > TOO_LONG) { oscillates = true; return; }
            auto& bucket = wheel[now % WHEEL];
            if (bucket.empty()) continue;
            std::vector<uint32_t> nodes;
            nodes.swap(bucket);
            pending -= nodes.size();
            for (uint32_t node : nodes) {
                if (due[node] != now) continue;
                due[node] = 0;
                if (node < tables.size()) toggle(tables[node].out);
                else multiplier(node - uint32_t(tables.size()), false);
            }
            decide();
        }
        ++now;
        if (!counting) return;
        for (uint32_t net : touched) settled[net] += value[net] != before[net];
        touched.clear();
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

    void tick() {
        ++cycle;
        counting = enabled && value[watched] == uint8_t(watched_level);
        counted += counting;
        std::vector<uint32_t> turned;
        for (uint32_t index : moved) {
            const FlipFlop& f = flip_flops[index];
            moves[index] = 0;
            if (!value[f.enable]) continue;
            const uint8_t next = value[f.reset] ? f.value : value[f.data];
            if (next != value[f.out]) turned.push_back(f.out);
        }
        moved.clear();
        std::vector<uint32_t> changed;  // blocks
        for (uint32_t k = 0; k < blocks.size(); ++k) {
            Access& access = accesses[k];
            if (awake[k]) {
                awake[k] -= !accumulates[k];
                if (blocks[k].kind == BLOCK_RAM) block_ram(k);
                else if (blocks[k].kind == SINGLE_PORT_RAM) single_port_ram(k);
                else multiplier(k, true);
                changed.push_back(k);
            }
            if (counting) access.reads += access.reading, access.writes += access.writing;
        }
        for (uint32_t net : turned) toggle(net);
        for (uint32_t k : changed) {
            const Block& b = blocks[k];
            if (b.kind == MULTIPLIER) {
                const uint32_t node = uint32_t(tables.size()) + k;
                if (marked[node] != mark) marked[node] = mark, dirty.push_back(node);
            } else {
                for (uint32_t n = 0; n < b.outs; ++n)
                    change(pins[b.first_out + n], registers[k][0] >> n & 1);
            }
        }
        for (auto [net, to] : inputs) change(net, to);
        inputs.clear();
        settle();
    }
};

}  // namespace

extern "C" {

// `enable` of a flip-flop counts for its reset too; see gates.py for the arrays.
Simulation* gates_new(uint32_t nets, const Table* tables, uint32_t table_count,
                      const FlipFlop* flip_flops, uint32_t flip_flop_count, const Block* blocks,
                      uint32_t block_count, const uint32_t* pins, uint32_t pin_count,
                      const uint32_t* parameters, uint32_t parameter_count) {
    auto* s = new Simulation;
    s->tables.assign(tables, tables + table_count);
    s->flip_flops.assign(flip_flops, flip_flops + flip_flop_count);
    s->blocks.assign(blocks, blocks + block_count);
    s->pins.assign(pins, pins + pin_count);
    s->parameters.assign(parameters, parameters + parameter_count);
    std::vector<std::vector<uint32_t>> readers(nets);
    for (uint32_t k = 0; k < table_count; ++k)
        for (uint32_t net : tables[k].in)
            if (readers[net].empty() || readers[net].back() != k) readers[net].push_back(k);
    for (uint32_t k = 0; k < block_count; ++k)
        for (uint32_t n = 0; n < blocks[k].ins; ++n)
            readers[pins[blocks[k].first_in + n]].push_back(table_count + k);
    for (uint32_t k = 0; k < flip_flop_count; ++k)
        for (uint32_t net : {flip_flops[k].data, flip_flops[k].enable, flip_flops[k].reset})
            readers[net].push_back(table_count + block_count + k);
    s->fan_start.push_back(0);
    for (const auto& nodes : readers) {
        s->fan.insert(s->fan.end(), nodes.begin(), nodes.end());
        s->fan_start.push_back(uint32_t(s->fan.size()));
    }
    s->value.assign(nets, 0), s->before.assign(nets, 0);
    s->value[1] = 1;
    s->toggles.assign(nets, 0), s->settled.assign(nets, 0), s->stamp.assign(nets, 0);
    s->due.assign(table_count + block_count, 0), s->marked.assign(table_count + block_count, 0);
    s->accesses.resize(block_count);
    s->awake.assign(block_count, PIPELINE), s->moves.assign(flip_flop_count, 1);
    for (uint32_t k = 0; k < flip_flop_count; ++k) s->moved.push_back(k);
    for (uint32_t k = 0; k < block_count; ++k) {
        const Block& b = blocks[k];
        s->memory.emplace_back(b.kind == BLOCK_RAM ? 256 : b.kind == SINGLE_PORT_RAM ? 16384 : 0);
        s->registers.emplace_back(b.kind == MULTIPLIER ? 12 : 1);
        s->accumulates.push_back(b.kind == MULTIPLIER && !(parameters[b.first_parameter + 10] &&
                                                           parameters[b.first_parameter + 14]));
        if (b.kind == BLOCK_RAM)  // behind the two modes, 256 words
            for (uint32_t n = 0; n < 256; ++n)
                s->memory[k][n] = uint16_t(parameters[b.first_parameter + 2 + n]);
    }
    return s;
}

void gates_delete(Simulation* s) { delete s; }

// Set a net that nothing drives, without the passing of time.
void gates_force(Simulation* s, uint32_t net, int to) { s->change(net, to); }

// Let everything settle from the state that flip-flops start in; -1 if it does not.
int gates_start(Simulation* s) {
    for (uint32_t k = 0; k < s->tables.size() + s->blocks.size(); ++k) {
        if (k >= s->tables.size() && s->blocks[k - s->tables.size()].kind != MULTIPLIER) continue;
        if (s->marked[k] != s->mark) s->marked[k] = s->mark, s->dirty.push_back(k);
    }
    s->settle();
    return s->oscillates ? -1 : 0;
}

// Change an input just after the next edge.
void gates_input(Simulation* s, uint32_t net, int to) { s->inputs.emplace_back(net, to); }

int gates_value(const Simulation* s, uint32_t net) { return s->value[net]; }

// So many clock cycles; -1 if a net does not settle.
int gates_run(Simulation* s, uint64_t cycles) {
    while (cycles-- && !s->oscillates) s->tick();
    return s->oscillates ? -1 : 0;
}

// Count from now on, in cycles that begin with the net `watched` at `level`; or pause.
void gates_count(Simulation* s, int on, uint32_t watched, int level) {
    s->enabled = on, s->watched = watched, s->watched_level = level;
}

uint64_t gates_counted(const Simulation* s) { return s->counted; }

void gates_load(Simulation* s, uint32_t block, uint32_t address, uint32_t count,
                const uint16_t* words) {
    std::memcpy(&s->memory[block][address], words, 2 * count);
}

void gates_peek(const Simulation* s, uint32_t block, uint32_t address, uint32_t count,
                uint16_t* words) {
    std::memcpy(words, &s->memory[block][address], 2 * count);
}

// Changes of each net since counting began, and those that were left at the end of a cycle.
void gates_toggles(const Simulation* s, uint64_t* all, uint64_t* settled) {
    std::memcpy(all, s->toggles.data(), 8 * s->toggles.size());
    std::memcpy(settled, s->settled.data(), 8 * s->settled.size());
}

// Reads, writes and uses of each block.
void gates_accesses(const Simulation* s, uint64_t* three) {
    for (const Access& a : s->accesses) *three++ = a.reads, *three++ = a.writes, *three++ = a.uses;
}

}  // extern "C"
