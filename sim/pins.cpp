// The harness around a verilated board: its clock, and a UART at its two pins, bit by bit, behind a C interface.
//
// The design's ports are clk, rx and tx; see pins.py, which compiles and calls it.
// Times are in clock cycles, and fractions of them: the host's bits need not be as long as the board takes them to be.

#include <cstdint>
#include <memory>
#include <vector>

#include "verilated.cpp"
#include "verilated_threads.cpp"
#include "Vtile.h"

namespace {
class Board {
    VerilatedContext context;
    std::unique_ptr<Vtile> board;
    double bit;                // cycles of the host's bits
    std::vector<uint8_t> out;  // bytes on their way to the board, from `head` on
    size_t head = 0;
    int sent = -1;             // bits of the byte at `head` whose level is on the line, -1 between bytes
    double next = 0;           // when the next level is due
    int taken = -1;            // bits of a byte from the board that were looked at, -1 between bytes
    double look = 0;           // when the next is looked at
    uint8_t byte = 0;
    bool rx = true;

    // The level of the line to the board: start bit, 8 bits, stop bit, without a rest between bytes.
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

    // Bytes from the board: looked at in the middle of each bit; one without its stop bit is dropped.
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

// Clocks until so many bytes are there to take, or so many cycles have passed; returns how many bytes there are.
MAREY size_t marey_run(Board* board, uint64_t cycles, size_t count) {
    for (uint64_t end = board->cycles + cycles; board->cycles < end && board->in.size() < count;) board->step();
    return board->in.size();
}

// The bytes that came, into room for them.
MAREY void marey_take(Board* board, uint8_t* bytes) {
    for (size_t index = 0; index < board->in.size(); ++index) bytes[index] = board->in[index];
    board->in.clear();
}

MAREY uint64_t marey_cycles(const Board* board) { return board->cycles; }
