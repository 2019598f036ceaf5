// The harness around a simulated tile: it drives the clock and passes link words, behind a C interface.
//
// verilator.py compiles this file and calls it. What the model prints, and a failed assertion, come from runtime.h. In C++,
// Verilator writes ___05F for the two underscores in rx__valid and so on.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "runtime.h"
#include "Vtile.h"
#include "Vtile___024root.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

// Extension of a sign in two shifts, which a compiler makes one instruction of. Those of Verilator take three, and a third of
// an array's statements are such extensions. The parts of the model are compiled behind this file (build.py).
#define VL_EXTENDS_II(obits, lbits, lhs) \
    static_cast<IData>(static_cast<int32_t>(static_cast<IData>(lhs) << (32 - (lbits))) >> (32 - (lbits)))
#define VL_EXTENDS_QI(obits, lbits, lhs) \
    static_cast<QData>(static_cast<int64_t>(static_cast<QData>(lhs) << (64 - (lbits))) >> (64 - (lbits)))
#define VL_EXTENDS_QQ VL_EXTENDS_QI

// One evaluation of the model. Vtile::eval() calls it, and besides looks for messages of other threads and for objects to
// delete, of which there are none, in a tenth of the time.
void Vtile___024root___eval(Vtile___024root* root);

namespace {
// A memory of the model: an array of rows, each in as many bytes as Verilator gives it.
struct Memory {
    const char* name;
    uint8_t* rows;
    size_t row_bytes, depth;
};

class Simulation {
    VerilatedContext context;
    std::unique_ptr<Vtile> tile;
#if VM_TRACE
    VerilatedVcdC trace;
#endif
    std::vector<uint32_t> queue;  // words to the tile; those before `head` were sent
    size_t head = 0;

#if VM_TRACE
    // Half a clock cycle, for a waveform with a clock in it.
    void half(bool clock) {
        tile->clk = clock;
        tile->eval();
        trace.dump(2 * cycles + clock);
    }
#endif

public:
    uint64_t cycles = 0;
    bool watching = false;
    std::vector<uint64_t> seen;  // for each change of the probe: the cycle, then the probe

    explicit Simulation(const char* trace_file) {
        context.traceEverOn(trace_file != nullptr);
        tile = std::make_unique<Vtile>(&context);
#if VM_TRACE
        tile->trace(&trace, 1);
        trace.open(trace_file);
#endif
        // Initial blocks run first: those of a netlist's cells write to the ports, too.
        tile->eval();
        tile->tx___05Fready = 1;
        tile->eval();
    }

    // The memories that build.py has found in the model's header. It writes memories.inc: MEMORY(member) for each.
    std::vector<Memory> memories() const {
        Vtile___024root* const root = tile->rootp;
        (void)root;
        return {
#define MEMORY(member) {#member, reinterpret_cast<uint8_t*>(&root->member[0]), sizeof root->member[0], \
                        sizeof root->member / sizeof root->member[0]},
#include "memories.inc"
#undef MEMORY
        };
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

    // One clock cycle. No output depends on an input of the same cycle, so it is known before the inputs change. Without a
    // waveform each change of the clock is an edge (rewriting.py), and a cycle takes one evaluation; but not in a netlist.
    Moved step() {
        const bool valid = head < queue.size();
        tile->rx___05Fvalid = valid;
        tile->rx___05Fpayload = valid ? queue[head] : 0;
#if VM_TRACE
        half(false);
#endif
#ifdef MAREY_PROBE
        if (watching && (seen.empty() || seen.back() != tile->probe)) {
            seen.push_back(cycles);
            seen.push_back(tile->probe);
        }
#endif
        const Moved moved{valid && tile->rx___05Fready, tile->tx___05Fvalid != 0, tile->tx___05Fpayload};
#if VM_TRACE
        half(true);
#elif defined(MAREY_GATES)
        tile->clk = 0;
        tile->eval();
        tile->clk = 1;
        tile->eval();
#else
        tile->clk = !tile->clk;
        Vtile___024root___eval(tile->rootp);
#endif
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

// Runs the clock until `count` words have come, or `patience` cycles have passed without one. Returns the number of words,
// or -1 if an assertion failed.
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

// Runs the clock until `quiet` cycles have passed without a word in either direction. Returns 0, or -1 if an assertion failed.
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

// Starts or stops recording the changes of the probe, and forgets what was recorded.
MAREY void marey_watch(Simulation* simulation, bool on) {
    simulation->watching = on;
    simulation->seen.clear();
}

// Returns how many numbers were recorded, and copies them to `numbers` unless it is null: cycle, probe, cycle, probe ...
MAREY size_t marey_seen(const Simulation* simulation, uint64_t* numbers) {
    if (numbers) std::copy(simulation->seen.begin(), simulation->seen.end(), numbers);
    return simulation->seen.size();
}

// The name of a memory, or null if there are no more.
MAREY const char* marey_memory(const Simulation* simulation, size_t number) {
    const auto memories = simulation->memories();
    return number < memories.size() ? memories[number].name : nullptr;
}

// Copies rows `first` to `first + count - 1` of a memory to `values`, or from there, `size` bytes each: a row's begin `stride`
// bytes after the last row's. Nothing is copied if the memory has not so many rows.
MAREY void marey_copy(Simulation* simulation, size_t number, size_t first, size_t count, uint8_t* values, size_t size,
                      size_t stride, bool to_tile) {
    const auto memory = simulation->memories().at(number);
    if (first + count > memory.depth) return;
    // The bytes of a link word that the model's rows do not have are 0.
    const size_t bytes = std::min(size, memory.row_bytes);
    for (size_t row = 0; row < count; ++row) {
        uint8_t* const inside = memory.rows + (first + row) * memory.row_bytes;
        uint8_t* const outside = values + row * stride;
        std::memcpy(to_tile ? inside : outside, to_tile ? outside : inside, bytes);
    }
}

MAREY uint64_t marey_cycles(const Simulation* simulation) { return simulation->cycles; }

// The message of the assertion that failed when the last call on this thread returned -1.
MAREY const char* marey_fault() { return fault.c_str(); }
