// A board's compiled top level: its clock and reset, and bytes that wait to be received or taken.

#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

#include "Vmodel.h"
#include "verilated.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

struct Device {
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
