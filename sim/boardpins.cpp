// Drives a board's compiled top level by its pins: a UART with a clock of its own, and a model of SPI flash.

#include <cstdint>
#include <vector>

#include "boarddevice.h"

namespace {

constexpr uint8_t READ = 0x03;
constexpr uint32_t COMMAND_BITS = 32;

// Answers READ alone; a bit is taken at the clock's rise, and the next one given behind its fall.
struct Flash {
    std::vector<uint8_t> data;
    uint64_t offset = 0;  // where `data` lies
    uint32_t bits = 0, command = 0;
    uint64_t position = 0;
    bool clock = false, out = true;

    void step(bool selected, bool rises, bool in) {
        if (!selected) {
            bits = command = 0;
            clock = false;
            out = true;
            return;
        }
        if (rises && !clock) {
            if (bits < COMMAND_BITS) command = command << 1 | in;
            bits++;
        }
        if (!rises && clock && bits >= COMMAND_BITS) {
            if (bits == COMMAND_BITS) position = command & 0xffffff;
            const uint32_t place = (bits - COMMAND_BITS) % 8;
            if (place == 0 && bits > COMMAND_BITS) position++;
            const bool known = command >> 24 == READ && position >= offset && position - offset < data.size();
            out = known ? data[position - offset] >> (7 - place) & 1 : true;
        }
        clock = rises;
    }
};

struct Pins final : Device {
    Flash flash;
    double bit = 1;         // cycles of the host's bit
    double tx_time = 0;     // of the byte being sent to the board, in cycles; -1 if none
    int tx_bits = -1;
    double rx_time = 0;
    int rx_bits = -1;
    uint8_t rx_byte = 0;

    void run(uint64_t cycles) override {
        for (uint64_t k = 0; k < cycles; k++) step();
    }

    void step() {
        // To the board: start, eight bits, stop.
        if (tx_bits < 0 && !in.empty()) {
            tx_bits = 0;
            tx_time = 0;
        }
        top.rx = 1;
        if (tx_bits >= 0) {
            tx_bits = static_cast<int>(tx_time / bit);
            if (tx_bits == 0) top.rx = 0;
            else if (tx_bits <= 8) top.rx = in.front() >> (tx_bits - 1) & 1;
            tx_time += 1;
            if (tx_time >= 10 * bit) {
                in.pop_front();
                tx_bits = -1;
            }
        }
        top.flash_cipo = flash.out;
        fall();
        rise();
        flash.step(!top.flash_cs_n, top.flash_clk, top.flash_copi);
        // From the board: each bit in its middle.
        if (rx_bits < 0) {
            if (!top.tx) {
                rx_bits = 0;
                rx_time = 0;
                rx_byte = 0;
            }
            return;
        }
        rx_time += 1;
        if (rx_time < (rx_bits + 0.5) * bit) return;
        if (rx_bits >= 1 && rx_bits <= 8) rx_byte |= top.tx << (rx_bits - 1);
        if (rx_bits++ == 9) {
            if (top.tx) out.push_back(rx_byte);  // a stop bit, or it was no byte
            rx_bits = -1;
        }
    }
};

}  // namespace

EXPORT Device *board_new(const uint8_t *flash, uint64_t bytes, uint64_t offset, double bit) {
    auto *pins = new Pins;
    pins->flash.data.assign(flash, flash + bytes);
    pins->flash.offset = offset;
    pins->bit = bit;
    pins->top.rx = 1;
    pins->reset();
    return pins;
}
