// The harness around a verilated tile: a pump for link words behind a C interface, one clock cycle a turn.
//
// The runtime of Verilator is compiled in here, so that what the model prints and the assertions it
// fails come to this file and not to stdout and abort(). See verilator.py, which compiles and calls it.
// Verilator spells the ports rx__valid and so on with ___05F, so that no two names clash.

#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace {
thread_local std::string printed;  // what the model printed in this cycle
thread_local std::string fault;    // the first assertion that failed

int capture(const char* format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    const int length = std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    // Verilator's own words on an assertion follow the message that the design gave it.
    if (!std::strstr(text, "%Error")) printed += text;
    return length;
}
}  // namespace

#define VL_PRINTF capture
#define VL_USER_STOP
#define VL_USER_FATAL
#include "verilated.cpp"
#include "verilated_threads.cpp"
#if VM_TRACE
#include "verilated_vcd_c.cpp"
#endif
#include "Vtile.h"

void vl_stop(const char*, int line, const char*) {
    if (fault.empty()) fault = printed.empty() ? "assertion failed in line " + std::to_string(line) : printed;
}

void vl_fatal(const char*, int line, const char*, const char* message) {
    if (fault.empty()) fault = std::string(message) + " in line " + std::to_string(line);
}

namespace {
class Simulation {
    VerilatedContext context;
    std::unique_ptr<Vtile> tile;
#if VM_TRACE
    VerilatedVcdC trace;
#endif
    std::vector<uint32_t> queue;  // words on their way into the tile, from `head` on
    size_t head = 0;

    void half(bool clock) {
        tile->clk = clock;
        tile->eval();
#if VM_TRACE
        trace.dump(2 * cycles + clock);
#endif
    }

public:
    uint64_t cycles = 0;
    bool watching = false;
    std::vector<uint64_t> seen;  // cycle and probe, one after the other, of each change of the probe

    explicit Simulation(const char* trace_file) {
        context.traceEverOn(trace_file != nullptr);
        tile = std::make_unique<Vtile>(&context);
#if VM_TRACE
        tile->trace(&trace, 1);
        trace.open(trace_file);
#endif
        tile->rst = 0;
        tile->tx___05Fready = 1;
    }

    ~Simulation() {
        tile->final();
#if VM_TRACE
        trace.close();
#endif
    }

    void send(const uint32_t* words, size_t count) {
        if (head == queue.size()) {
            queue.clear();
            head = 0;
        }
        queue.insert(queue.end(), words, words + count);
    }

    struct Moved {
        bool sent, received;
        uint32_t word;
    };

    // One clock cycle. Inputs change while the clock is low, so that outputs settle before the edge.
    Moved step() {
        const bool valid = head < queue.size();
        tile->rx___05Fvalid = valid;
        tile->rx___05Fpayload = valid ? queue[head] : 0;
        half(false);
#ifdef MAREY_PROBE
        if (watching && (seen.empty() || seen.back() != tile->probe)) {
            seen.push_back(cycles);
            seen.push_back(tile->probe);
        }
#endif
        const Moved moved{valid && tile->rx___05Fready, tile->tx___05Fvalid != 0, tile->tx___05Fpayload};
        half(true);
        head += moved.sent;
        ++cycles;
        return moved;
    }
};
}  // namespace

#define MAREY extern "C" __attribute__((visibility("default")))

MAREY void* marey_open(const char* trace_file) { return new Simulation(trace_file); }

MAREY void marey_close(Simulation* simulation) { delete simulation; }

MAREY void marey_send(Simulation* simulation, const uint32_t* words, size_t count) {
    simulation->send(words, count);
}

// Clocks until `count` words came, or `patience` cycles passed without one; returns how many came, -1 for a fault.
MAREY int64_t marey_receive(Simulation* simulation, uint32_t* words, size_t count, uint64_t patience) {
    size_t received = 0;
    uint64_t silent = 0;
    fault.clear();
    while (received < count && silent < patience) {
        printed.clear();
        const auto moved = simulation->step();
        if (!fault.empty()) return -1;
        ++silent;
        if (moved.received) {
            words[received++] = moved.word;
            silent = 0;
        }
    }
    return static_cast<int64_t>(received);
}

// Clocks until no word moved, either way, for `quiet` cycles; returns 0, or -1 for a fault.
MAREY int64_t marey_drain(Simulation* simulation, uint64_t quiet) {
    fault.clear();
    for (uint64_t silent = 0; silent < quiet; ++silent) {
        printed.clear();
        const auto moved = simulation->step();
        if (!fault.empty()) return -1;
        if (moved.sent || moved.received) silent = 0;
    }
    return 0;
}

// From now on, or no longer, every change of the probe is kept; what was kept is forgotten.
MAREY void marey_watch(Simulation* simulation, bool on) {
    simulation->watching = on;
    simulation->seen.clear();
}

// How many numbers are kept, and, into room for as many, the numbers: cycle, probe, cycle, probe ...
MAREY size_t marey_seen(const Simulation* simulation, uint64_t* numbers) {
    if (numbers) std::copy(simulation->seen.begin(), simulation->seen.end(), numbers);
    return simulation->seen.size();
}

MAREY uint64_t marey_cycles(const Simulation* simulation) { return simulation->cycles; }

// What failed when the last call on this thread returned -1.
MAREY const char* marey_fault() { return fault.c_str(); }
