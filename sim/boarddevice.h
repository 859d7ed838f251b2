// A board's compiled top level: its clock and reset, bytes that wait to be received or taken, and what Python calls.

#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

#include "Vmodel.h"
#include "verilated.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

struct Device {
    virtual ~Device() = default;

    // Runs for some cycles, or less where there is no more to wait for.
    virtual void run(uint64_t cycles) = 0;

    VerilatedContext context;
    Vmodel top{&context};
    std::deque<uint8_t> in;    // what the board has not received
    std::vector<uint8_t> out;  // what it has sent
    uint64_t cycle = 0;        // since reset

    void fall() {
        top.clk = 0;
        top.eval();
    }

    void rise() {
        top.clk = 1;
        top.eval();
        cycle++;
    }

    void reset() {
        top.rst = 1;
        for (int k = 0; k < 4; k++) {
            fall();
            rise();
        }
        top.rst = 0;
        cycle = 0;
    }

    void send(const uint8_t *data, uint64_t bytes) { in.insert(in.end(), data, data + bytes); }

    void take(uint8_t *data) {
        std::memcpy(data, out.data(), out.size());
        out.clear();
    }
};

// What `boarddevice.py` calls; a file that includes this one adds board_new.

EXPORT void board_free(Device *device) { delete device; }

EXPORT void board_send(Device *device, const uint8_t *data, uint64_t bytes) { device->send(data, bytes); }

// Returns how many bytes the board has sent that were not taken.
EXPORT uint64_t board_run(Device *device, uint64_t cycles) {
    device->run(cycles);
    return device->out.size();
}

EXPORT void board_take(Device *device, uint8_t *out) { device->take(out); }

EXPORT uint64_t board_cycles(Device *device) { return device->cycle; }
