
// Calls for the memory chip of dram.hpp; stands behind harness.cpp.
extern "C" {

// Gives the chip its numbers and runs until the memory is ready, or `most` cycles; returns its state.
int ternforge_dram_start(Simulation* s, const DramNumbers* numbers, uint64_t most) {
    s->memory.set(*numbers);
    const uint64_t end = s->cycle + most;
    do s->tick(); while (s->top->memory_state == 1 && s->cycle < end && !s->failed());
    return s->top->memory_state;
}

// Puts `count` bytes into the chip, from its first word up; -1 if it is smaller.
int ternforge_dram_fill(Simulation* s, const uint8_t* bytes, uint64_t count) {
    if (count > s->memory.size) return -1;
    std::memcpy(s->memory.contents, bytes, count);
    return 0;
}

const char* ternforge_dram_error(const Simulation* s) { return s->memory.error.c_str(); }

// Activates, reads, writes, refreshes since the initialisation.
void ternforge_dram_counts(const Simulation* s, uint64_t* four) {
    four[0] = s->memory.activates, four[1] = s->memory.reads;
    four[2] = s->memory.writes, four[3] = s->memory.refreshes;
}

// Cycles in which the core waited for a beat because of a change of the row, and of a refresh.
void ternforge_dram_waits(const Simulation* s, uint64_t* two) {
    two[0] = s->memory.waits[WatchedDram::row], two[1] = s->memory.waits[WatchedDram::refresh];
}

}  // extern "C"
