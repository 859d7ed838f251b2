// Drives a board's compiled top level from its link's bytes inward, without Python in the clock loop.

#include <cstdint>
#include <vector>

#include "boarddevice.h"

// A stream's port, whose name Verilator spells with an escaped second underscore.
#define PORT(stream, member) stream##___05F##member

namespace {

constexpr uint8_t ERASED = 0xff;
constexpr uint8_t FLAG = 0x7e;
// Cycles without a byte after which what was sent is taken to be complete, if it does not end with a flag.
constexpr uint64_t QUIET = 1000;
// Most cycles that an answer is silent for: a CHECK of 127 blocks of 256 bytes.
constexpr uint64_t SILENCE = 127 * 256 * 8;

struct Board final : Device {
    std::vector<uint8_t> flash;
    size_t flash_position = 0;
    uint32_t pace = 1;                 // cycles that a byte takes, at least
    uint32_t rx_wait = 0, tx_wait = 0;  // cycles until the next one
    bool answers = false;              // a frame has begun and not ended; text leaves without one
    uint64_t sent = 0;                 // cycle of the last byte sent

    // Whether a byte came in or went out.
    bool step() {
        const bool reads = top.booting;
        top.PORT(tx, ready) = tx_wait == 0;
        top.PORT(rx, valid) = reads || (rx_wait == 0 && !in.empty());
        if (reads)
            top.PORT(rx, payload) = flash_position < flash.size() ? flash[flash_position] : ERASED;
        else if (!in.empty())
            top.PORT(rx, payload) = in.front();
        fall();
        const bool taken = top.PORT(rx, valid) && top.PORT(rx, ready);
        const bool given = top.PORT(tx, valid) && top.PORT(tx, ready);
        if (given) {
            out.push_back(top.PORT(tx, payload));
            answers ^= out.back() == FLAG;
            sent = cycle;
        }
        rise();
        if (taken && reads) flash_position++;
        if (taken && !reads) {
            in.pop_front();
            answers = false;
        }
        rx_wait = taken ? pace - 1 : rx_wait - (rx_wait != 0);
        tx_wait = given ? pace - 1 : tx_wait - (tx_wait != 0);
        return taken || given;
    }

    // Less if something was sent and nothing is on its way.
    void run(uint64_t cycles) override {
        uint64_t quiet = 0;
        for (uint64_t k = 0; k < cycles; k++) {
            quiet = step() ? 0 : quiet + 1;
            if (out.empty() || !in.empty()) continue;
            if (quiet > (out.size() > 1 && out.back() == FLAG ? 0 : QUIET) + pace) break;
        }
    }
};

}  // namespace

EXPORT Device *board_new(const uint8_t *flash, uint64_t bytes, uint32_t pace) {
    auto *board = new Board;
    board->flash.assign(flash, flash + bytes);
    board->pace = pace;
    board->reset();
    return board;
}

EXPORT int board_busy(Device *device) {
    auto &board = static_cast<Board &>(*device);
    const bool answers = board.answers && board.cycle - board.sent < SILENCE;
    return answers || !board.in.empty() || board.top.booting || !board.top.idle;
}
