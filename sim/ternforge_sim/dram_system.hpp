// The image memory of a system: the chip of dram.hpp, which stands before this text.
#include <cstdio>
#define SYSTEM_MEMORY

struct SystemMemory : DramModel {
    // Options below this are the fields of DramNumbers in order.
    static constexpr uint32_t fields = sizeof(DramNumbers) / sizeof(uint32_t);
    enum Option : uint32_t { START = 100, IMAGE, IMAGE_BYTES };

    uint32_t numbers[fields] = {};
    const uint8_t* image = nullptr;
    uint64_t image_bytes = 0;
    bool filled = true, told = false;

    void set(uint32_t number, uint64_t value) {
        if (number < fields) {
            numbers[number] = uint32_t(value);
        } else if (number == START) {
            DramNumbers all;
            std::memcpy(&all, numbers, sizeof all);
            DramModel::set(all);
        } else if (number == IMAGE) {  // stays the caller's until the memory is ready
            image = reinterpret_cast<const uint8_t*>(uintptr_t(value));
        } else if (number == IMAGE_BYTES) {
            image_bytes = value, filled = false;
        }
    }

    template <typename Top>
    void before_edge(const Top& top, uint64_t cycle) {
        DramModel::before_edge(top, cycle);
        if (!filled && top.memory_state == 0) {
            std::memcpy(contents, image, std::min(image_bytes, size));
            filled = true;
        }
        if (failed() && !told) {
            std::fprintf(stderr, "the memory chip was used against its rules: %s\n", error.c_str());
            told = true;
        }
    }
};
