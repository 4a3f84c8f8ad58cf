// Simulates a netlist of look-up tables, flip-flops and hard blocks with a delay per cell, and counts
// how often each net changes. A change that would be undone before the delay of a cell is over does
// not pass it (inertial delay). One clock; memories and multipliers act on its edge: blocks.hpp and
// family.hpp, which stand before this text.
#include <cstring>

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

struct Simulation : FamilyBlocks {
    std::vector<Table> tables;
    std::vector<FlipFlop> flip_flops;
    std::vector<uint32_t> fan_start, fan;  // what reads each net: tables, blocks, flip-flops

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
    bool enabled = false, oscillates = false;
    uint32_t watched = 1;  // cycles count that begin with this net high, or low
    bool watched_level = true;
    uint64_t counted = 0;

    std::vector<std::pair<uint32_t, uint8_t>> inputs;  // to change after the next edge

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
            if (!combinational(blocks[after_tables].kind)) return;
        }
        if (marked[node] != mark) marked[node] = mark, dirty.push_back(node);
    }

    void change(uint32_t net, bool to) override {
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
                else show(node - uint32_t(tables.size()));
            }
            decide();
        }
        ++now;
        if (!counting) return;
        for (uint32_t net : touched) settled[net] += value[net] != before[net];
        touched.clear();
    }

    // Outputs of a block that acts without a clock.
    void show(uint32_t k) {
        if (blocks[k].kind == MULTIPLIER) multiplier(k, false);
        else family_show(k);
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
                else if (blocks[k].kind == MULTIPLIER) multiplier(k, true);
                else family_edge(k);
                changed.push_back(k);
            }
            if (counting) access.reads += access.reading, access.writes += access.writing;
        }
        for (uint32_t net : turned) toggle(net);
        for (uint32_t k : changed) {
            const Block& b = blocks[k];
            if (combinational(b.kind)) {
                const uint32_t node = uint32_t(tables.size()) + k;
                if (marked[node] != mark) marked[node] = mark, dirty.push_back(node);
            } else if (b.kind == DUAL_PORT_RAM) {
                family_show(k);
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
        const uint32_t words[] = {256, 16384, 0, 2048, 16, 0};  // by kind
        s->memory.emplace_back(words[b.kind]);
        s->held.emplace_back(4);
        s->registers.emplace_back(b.kind == MULTIPLIER ? 12 : 1);
        s->accumulates.push_back(b.kind == MULTIPLIER && !(parameters[b.first_parameter + 10] &&
                                                           parameters[b.first_parameter + 14]));
        const uint32_t before[] = {2, 0, 0, 6, 0, 0};  // parameters before the contents, by kind
        if (b.kind != SINGLE_PORT_RAM)
            for (uint32_t n = 0; n < words[b.kind]; ++n)
                s->memory[k][n] = uint16_t(parameters[b.first_parameter + before[b.kind] + n]);
    }
    return s;
}

void gates_delete(Simulation* s) { delete s; }

// Set a net that nothing drives, without the passing of time.
void gates_force(Simulation* s, uint32_t net, int to) { s->change(net, to); }

// Let everything settle from the state that flip-flops start in; -1 if it does not.
int gates_start(Simulation* s) {
    for (uint32_t k = 0; k < s->tables.size() + s->blocks.size(); ++k) {
        if (k >= s->tables.size() &&
            !FamilyBlocks::combinational(s->blocks[k - s->tables.size()].kind)) continue;
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
