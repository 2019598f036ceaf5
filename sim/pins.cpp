// The harness around a simulated board: it drives the clock and a UART at two pins, behind a C interface.
//
// The design's ports are clk, rx and tx; pins.py compiles this file and calls it. Times are in clock cycles and fractions of
// them, because a bit of the host need not be exactly as long as a bit of the board.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "runtime.h"
#include "Vtile.h"

namespace {
class Board {
    VerilatedContext context;
    std::unique_ptr<Vtile> board;
    double bit;                // length of the host's bits
    std::vector<uint8_t> out;  // bytes to the board; those before `head` were sent
    size_t head = 0;
    int sent = -1;             // bit of the byte at `head` that is on the line, 0 the start bit; -1 between bytes
    double next = 0;           // time of the next bit to the board
    int taken = -1;            // bits of a byte from the board that were read, -1 between bytes
    double look = 0;           // time at which the next one is read
    uint8_t byte = 0;
    bool rx = true;

    // Sets the line to the board: start bit, 8 bits, stop bit, and no pause between bytes.
    void transmit() {
        while (cycles >= next) {
            if (sent < 0 || sent == 9) {
                if (sent == 9) ++head;
                sent = -1;
                if (head == out.size()) {
                    out.clear();
                    head = 0;
                    rx = true;
                    next = cycles;
                    return;
                }
            }
            ++sent;
            rx = sent == 0 ? false : sent == 9 ? true : out[head] >> (sent - 1) & 1;
            next += bit;
        }
    }

    // Reads bytes from the board, in the middle of each bit; a byte without a stop bit is dropped.
    void receive(bool level) {
        if (taken < 0) {
            if (level) return;
            taken = 0;
            look = cycles + bit / 2;
        }
        if (cycles < look) return;
        look += bit;
        if (taken == 0 && level) taken = -2;
        else if (taken == 9 && level) in.push_back(byte);
        else byte = byte >> 1 | (level ? 0x80 : 0);
        if (++taken == 10) taken = -1;
    }

    void half(bool clock) {
        board->clk = clock;
        board->eval();
        if (!fault.empty()) {
            std::fprintf(stderr, "%s\n", fault.c_str());
            std::abort();
        }
    }

public:
    uint64_t cycles = 0;
    std::vector<uint8_t> in;  // bytes that came from the board

    explicit Board(double bit) : board(std::make_unique<Vtile>(&context)), bit(bit) {}

    ~Board() { board->final(); }

    void rate(double cycles_a_bit) { bit = cycles_a_bit; }

    void send(const uint8_t* bytes, size_t count) { out.insert(out.end(), bytes, bytes + count); }

    size_t waiting() const { return out.size() - head; }

    void step() {
        transmit();
        board->rx = rx;
        half(false);
        receive(board->tx);
        half(true);
        ++cycles;
    }
};
}  // namespace

#define MAREY extern "C" __attribute__((visibility("default")))

MAREY Board* marey_open(double bit) { return new Board(bit); }

MAREY void marey_close(Board* board) { delete board; }

MAREY void marey_rate(Board* board, double bit) { board->rate(bit); }

MAREY void marey_send(Board* board, const uint8_t* bytes, size_t count) { board->send(bytes, count); }

MAREY size_t marey_waiting(const Board* board) { return board->waiting(); }

// Runs the clock until `count` bytes have come, or `cycles` cycles have passed; returns the number of bytes.
MAREY size_t marey_run(Board* board, uint64_t cycles, size_t count) {
    for (uint64_t end = board->cycles + cycles; board->cycles < end && board->in.size() < count;) board->step();
    return board->in.size();
}

// Copies the bytes that have come to `bytes`, and forgets them.
MAREY void marey_take(Board* board, uint8_t* bytes) {
    for (size_t index = 0; index < board->in.size(); ++index) bytes[index] = board->in[index];
    board->in.clear();
}

MAREY uint64_t marey_cycles(const Board* board) { return board->cycles; }
