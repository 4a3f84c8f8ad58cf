// A memory chip behind the DFI of LiteDRAM's controller, PHY included: contents, rows, and whether
// every command comes when the chip allows it. Times are clocks of the chip, but for latencies.
// PHASES: commands per controller cycle. levels.hpp stands before this text.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

// As in ternforge_sim.dram, in this order.
struct DramNumbers {
    uint32_t ddr3, bank_bits, row_bits, column_bits, data_bytes, burst, cas, cas_write;
    uint32_t read_latency, write_latency;  // controller cycles from DFI's enable to its data
    uint32_t tRP, tRCD, tWR, tRFC, tWTR, tFAW, tCCD, tRRD, tRAS, tRC, tRTP, tREFI, tMOD, tZQ;
    uint32_t reset_clocks, settle_clocks;  // reset or power-up, then until CKE or the first command
};

struct DramModel {
    using Time = int64_t;
    static constexpr Time never = -(Time(1) << 40);
    static constexpr unsigned late_refreshes = 9;  // eight may be late, and one is due

    struct Bank {
        int64_t row = -1;
        Time opened = never, closed = never, read = never, written = never;  // `written`: its last data
    };
    struct Data {
        uint64_t cycle, byte;
        std::vector<uint8_t> bytes;
    };
    struct Phase {
        bool selected, ras, cas, we, cke, reset_n, reads, writes;
        uint32_t address, bank;
    };

    DramNumbers n{};
    uint8_t* contents = nullptr;
    uint64_t size = 0;
    std::string error;  // the first command that the chip does not allow
    uint64_t activates = 0, reads = 0, writes = 0, refreshes = 0, precharges = 0;

    std::vector<Bank> banks;
    std::deque<Data> coming, going;  // words to the controller, and places of words from it
    Time busy_since = never, busy_for = 0, ready_since = 0, cke_since = never, reset_since = 0;
    const char* busy_with = "";
    Time last_column = never, last_activate = never, written = never;
    std::deque<Time> window;  // the last four ACTIVATE
    uint32_t modes = 0, early_refreshes = 0;  // mode registers that were written
    bool precharged = false, calibrated = false, ready = false;
    uint64_t cycle = 0;

    ~DramModel() { std::free(contents); }

    bool failed() const { return !error.empty(); }

    void set(const DramNumbers& numbers) {
        n = numbers;
        banks.assign(size_t(1) << n.bank_bits, Bank{});
        size = (uint64_t(n.data_bytes) << n.bank_bits << n.row_bits) << n.column_bits;
        contents = static_cast<uint8_t*>(std::calloc(size, 1));
        levels.set(n.data_bytes);
    }

    void fail(const std::string& what) {
        if (error.empty()) error = what + " (controller cycle " + std::to_string(cycle) + ")";
    }

    // The rule `name`: at least `least` clocks since `since`.
    void after(const char* name, const std::string& what, Time now, Time since, Time least) {
        if (now - since < least)
            fail(std::string(name) + ": " + what + " came " + std::to_string(now - since) +
                 " clocks later, and the chip needs " + std::to_string(least));
    }

    uint32_t word_bytes() const { return n.burst * n.data_bytes; }

    void open(const Phase& p, Time now) {
        Bank& bank = banks[p.bank];
        if (bank.row >= 0) return fail("ACTIVATE in bank " + std::to_string(p.bank) +
                                       ", which has an open row");
        after("tRP", "ACTIVATE after a precharge", now, bank.closed, n.tRP);
        after("tRC", "ACTIVATE after one in the same bank", now, bank.opened, n.tRC);
        after("tRRD", "ACTIVATE after one in any bank", now, last_activate, n.tRRD);
        if (window.size() == 4) {
            after("tFAW", "a fifth ACTIVATE", now, window.front(), n.tFAW);
            window.pop_front();
        }
        window.push_back(now);
        bank.row = p.address & ((1u << n.row_bits) - 1);
        bank.opened = last_activate = now;
        ++activates;
    }

    void column(const Phase& p, Time now, bool write) {
        Bank& bank = banks[p.bank];
        const std::string name = write ? "WRITE" : "READ";
        if (bank.row < 0) return fail(name + " in bank " + std::to_string(p.bank) +
                                      ", which has no open row");
        if (write ? !p.writes : !p.reads) return fail(name + " without its data enable");
        after("tRCD", name + " after ACTIVATE", now, bank.opened, n.tRCD);
        after("tCCD", name + " after another", now, last_column, n.tCCD);
        last_column = now;
        const uint32_t place = (p.address & 0x3FF) | (p.address >> 11 << 10);
        const uint32_t column = place & ((1u << n.column_bits) - 1);
        if (column % n.burst) return fail(name + " within a burst");
        const uint64_t byte =
            (((uint64_t(bank.row) << n.bank_bits | p.bank) << n.column_bits) | column) * n.data_bytes;
        const Time moved = n.ddr3 ? n.burst / 2 : n.burst;
        Time may_close;
        if (write) {
            going.push_back({cycle + n.write_latency, byte, {}});
            // SDR takes its first data with the command.
            bank.written = written = now + n.cas_write + moved - (n.ddr3 ? 0 : 1);
            may_close = bank.written + n.tWR;
            ++writes;
        } else {
            after("tWTR", "READ after the data of a WRITE", now, written, n.tWTR);
            bank.read = now;
            may_close = now + (n.ddr3 ? n.tRTP : n.burst);
            coming.push_back({cycle + n.read_latency, byte, {contents + byte,
                                                            contents + byte + word_bytes()}});
            ++reads;
        }
        if (p.address >> 10 & 1) {  // closes by itself
            bank.row = -1;
            bank.closed = std::max<Time>(may_close, bank.opened + n.tRAS);
        }
    }

    void close(Bank& bank, Time now) {
        if (bank.row < 0) return;
        after("tRAS", "PRECHARGE after ACTIVATE", now, bank.opened, n.tRAS);
        after("tWR", "PRECHARGE after the data of a WRITE", now, bank.written, n.tWR);
        after("tRTP", "PRECHARGE after READ", now, bank.read, n.tRTP);
        bank.row = -1, bank.closed = now;
        ++precharges;
    }

    void all_closed(const char* name, Time now) {
        for (const Bank& bank : banks) {
            if (bank.row >= 0) return fail(std::string(name) + " while a row is open");
            after("tRP", std::string(name) + " after a precharge", now, bank.closed, n.tRP);
        }
    }

    void busy(const char* name, Time now, Time clocks) {
        busy_with = name, busy_since = now, busy_for = clocks;
    }

    void mode(const Phase& p, Time now) {
        all_closed("MODE REGISTER SET", now);
        modes |= 1u << p.bank;
        busy("tMOD", now, n.tMOD);
        const uint32_t cas = n.ddr3 ? (p.address >> 4 & 7) + 4 : p.address >> 4 & 7;
        const uint32_t burst = n.ddr3 ? 8 >> (p.address & 3) : 1u << (p.address & 7);
        if (p.bank == 0 && (cas != n.cas || burst != n.burst))
            fail("mode register 0 sets CAS latency " + std::to_string(cas) + " and bursts of " +
                 std::to_string(burst) + ", and the controller counts on " + std::to_string(n.cas) +
                 " and " + std::to_string(n.burst));
        if (n.ddr3 && p.bank == 2 && (p.address >> 3 & 7) + 5 != n.cas_write)
            fail("mode register 2 sets another CAS write latency than the controller counts on");
    }

    // What is missing before the first use; empty if nothing is.
    std::string missing() const {
        if (n.ddr3) return modes != 15 ? "not all mode registers were written" :
                           !calibrated ? "the chip was not calibrated" : "";
        return !precharged ? "the banks were not precharged" :
               early_refreshes < 2 ? "two refreshes did not come" :
               !(modes & 1) ? "the mode register was not written" : "";
    }

    void command(const Phase& p, Time now) {
        if (!p.selected || !(p.ras || p.cas || p.we)) return;
        after(busy_with, "a command", now, busy_since, busy_for);
        if (!p.cke || now - cke_since < Time(n.ddr3 ? n.tRFC + 5 : n.settle_clocks))
            return fail("a command before the clock was enabled for long enough");
        const bool uses = (p.ras && !p.cas && !p.we) || (!p.ras && p.cas);
        if (uses && !ready) {
            const std::string what = missing();
            if (!what.empty()) return fail("the chip is used before its initialisation: " + what);
            ready = true, ready_since = now, refreshes = 0;
        }
        if (p.ras && !p.cas && !p.we) return open(p, now);
        if (!p.ras && p.cas) return column(p, now, p.we);
        if (p.ras && !p.cas && p.we) {
            if (!(p.address >> 10 & 1)) return close(banks[p.bank], now);
            for (Bank& bank : banks) close(bank, now);
            if (!ready) {
                precharged = true;
                for (Bank& bank : banks) bank.closed = now;
            }
        } else if (p.ras && p.cas && !p.we) {
            all_closed("REFRESH", now);
            busy("tRFC", now, n.tRFC);
            ++refreshes, ++early_refreshes;
        } else if (p.ras && p.cas && p.we) {
            mode(p, now);
        } else {
            all_closed("ZQ CALIBRATION", now);
            calibrated |= p.address >> 10 & 1;
            busy("tZQ", now, p.address >> 10 & 1 ? 512 : n.tZQ);
        }
    }

    void lines(const Phase& p, Time now) {
        if (!p.reset_n) reset_since = now, cke_since = never, modes = 0, calibrated = false;
        if (!p.cke) cke_since = never;
        else if (cke_since == never) {
            cke_since = now;
            if (n.ddr3 && now - reset_since < Time(n.settle_clocks))
                fail("the clock was enabled " + std::to_string(now - reset_since) +
                     " clocks after the reset, and the chip needs " + std::to_string(n.settle_clocks));
        }
        if (p.reset_n && n.ddr3 && now < Time(n.reset_clocks))
            fail("the reset ended after " + std::to_string(now) + " clocks, and the chip needs " +
                 std::to_string(n.reset_clocks));
        if (ready && now - ready_since - Time(refreshes) * n.tREFI > Time(late_refreshes) * n.tREFI)
            fail("tREFI: refreshes are late by more than " + std::to_string(late_refreshes));
    }

    ReadLevels levels;

    template <typename Top>
    void before_edge(const Top& top, uint64_t now_cycle) {
        cycle = now_cycle;
        const auto phase = [](auto cs_n, auto ras_n, auto cas_n, auto we_n, auto cke, auto reset_n,
                              auto reads, auto writes, auto address, auto bank) {
            return Phase{!cs_n, !ras_n, !cas_n, !we_n, cke != 0, reset_n != 0, reads != 0,
                         writes != 0, uint32_t(address), uint32_t(bank)};
        };
#define DRAM_PHASE(k) phase(top.dfi_p##k##_cs_n, top.dfi_p##k##_ras_n, top.dfi_p##k##_cas_n, \
    top.dfi_p##k##_we_n, top.dfi_p##k##_cke, top.dfi_p##k##_reset_n, top.dfi_p##k##_rddata_en, \
    top.dfi_p##k##_wrdata_en, top.dfi_p##k##_address, top.dfi_p##k##_bank)
        const Phase phases[PHASES] = {DRAM_PHASE(0),
#if PHASES > 1
                                      DRAM_PHASE(1),
#endif
        };
        for (unsigned k = 0; k < PHASES; ++k) {
            lines(phases[k], Time(cycle * PHASES + k));
            command(phases[k], Time(cycle * PHASES + k));
        }
        if (!going.empty() && going.front().cycle == cycle) {
            const uint32_t half = word_bytes() / PHASES;
            uint8_t data[PHASES][64], mask[PHASES][8];
            std::memcpy(data[0], &top.dfi_p0_wrdata, half);
            std::memcpy(mask[0], &top.dfi_p0_wrdata_mask, (half + 7) / 8);
#if PHASES > 1
            std::memcpy(data[1], &top.dfi_p1_wrdata, half);
            std::memcpy(mask[1], &top.dfi_p1_wrdata_mask, (half + 7) / 8);
#endif
            for (uint32_t k = 0; k < word_bytes(); ++k) {
                const uint32_t at = k % half, part = k / half;
                if (!(mask[part][at / 8] >> at % 8 & 1))
                    contents[going.front().byte + k] = data[part][at];
            }
            going.pop_front();
        }
        levels.before_edge(top);
    }

    // What the controller sees in the next cycle, which is `next`.
    template <typename Top>
    void after_edge(Top& top, uint64_t next) {
        const uint32_t half = word_bytes() / PHASES;
        const bool due = !coming.empty() && coming.front().cycle == next;
        if (due) {
            auto& bytes = coming.front().bytes;
            levels.read(bytes);
            std::memcpy(&top.dfi_p0_rddata, bytes.data(), half);
#if PHASES > 1
            std::memcpy(&top.dfi_p1_rddata, bytes.data() + half, half);
#endif
            coming.pop_front();
        }
        top.dfi_p0_rddata_valid = due;
#if PHASES > 1
        top.dfi_p1_rddata_valid = due;
#endif
        levels.after_edge(top);
    }
};

#if !defined(DRAM_WAITS)
using ImageMemory = DramModel;
#endif
