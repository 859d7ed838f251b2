// Drives a compiled accelerator from memory, without Python in the clock loop.
//
// The accelerator gets what a board would give it: weight beats that it asks for, program words, tokens, settings, a saved
// state, clock and reset. Structures cross as they are packed in the ports; the Python side (engine.py) packs and unpacks them.

#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "Vmodel.h"
#include "verilated.h"
#if VM_TRACE_FST
#include "verilated_fst_c.h"
#endif

// A stream's port, whose name Verilator spells with an escaped second underscore.
#define PORT(stream, member) stream##___05F##member
#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

constexpr uint32_t PROBE_LANES = sizeof(Vmodel::probe) / 8;

// Field `cause` of the status, and what a cycle may have gone for.
#define CAUSE_OF(status) (((status) >> 5) & 15)
constexpr uint32_t CAUSES = 16;

enum Stop { WAITS = 0, RESULT = 1, STUCK = 2, OUT_OF_RANGE = 3 };

// An element that left a unit.
struct Event {
    uint64_t cycle;
    uint64_t probe;
    uint32_t lane;
    uint32_t layer;
};

struct Runner {
    VerilatedContext context;
    Vmodel top{&context};
    const uint8_t *memory = nullptr;
    uint64_t beats = 0, beat_bytes = 0;
    // Runs of beats wanted by one of the two read channels: address, beats left.
    struct Channel {
        std::deque<std::pair<uint64_t, uint64_t>> runs;
        uint64_t pending = 0;
        bool request = false, beat = false;
    } matrix, vectors;
    std::deque<uint64_t> tokens;
    std::vector<uint64_t> raw;
    std::vector<Event> events;
    uint64_t result = 0;
    uint64_t cycle = 0;
    uint64_t causes[CAUSES] = {};
    uint64_t patience = 1000000;
    uint32_t stall_rate = 0;  // of 2^32: how often memory has no beat
    uint32_t random = 1;
    bool trace = false;
    bool progress = false;
    Stop stop = WAITS;

    uint32_t next_random() {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        return random;
    }

    void clock() {
        top.clk = 0;
        top.eval();
        dump(0);
        sample();
        top.clk = 1;
        top.eval();
        dump(5);
        cycle++;
    }

#if VM_TRACE_FST
    std::unique_ptr<VerilatedFstC> waveform;

    // A cycle takes 10 ns: it begins when its inputs have settled, and its clock edge is in the middle.
    void dump(uint64_t phase) {
        if (waveform) waveform->dump(10 * cycle + phase);
    }
#else
    void dump(uint64_t) {}
#endif

    // What is handed over at the coming edge; a result is only seen.
    struct Handover {
        bool token, result, raw;
    } handover{};

    void sample() {
        matrix.request = top.PORT(request, valid) && top.PORT(request, ready);
        matrix.beat = top.PORT(beats, valid) && top.PORT(beats, ready);
        vectors.request = top.PORT(vector_request, valid) && top.PORT(vector_request, ready);
        vectors.beat = top.PORT(vector_beats, valid) && top.PORT(vector_beats, ready);
        handover.token = top.PORT(tokens, valid) && top.PORT(tokens, ready);
        handover.result = top.PORT(results, valid);
        handover.raw = top.PORT(raw, valid) && top.PORT(raw, ready);
        if (matrix.request) matrix.pending = top.PORT(request, payload);
        if (vectors.request) vectors.pending = top.PORT(vector_request, payload);
        causes[CAUSE_OF(top.status)] += !top.idle;
        if (handover.result) result = top.PORT(results, payload);
        if (handover.raw) raw.push_back(top.PORT(raw, payload));
        if (trace) {
            uint64_t lanes[PROBE_LANES];
            std::memcpy(lanes, &top.probe, sizeof lanes);
            for (uint32_t lane = 0; lane < PROBE_LANES; lane++)
                if (lanes[lane] & 1) events.push_back({cycle, lanes[lane], lane, top.layer});
        }
    }

    uint64_t pending = 0;  // the request that was out of range

    void step() {
        const bool stalled = stall_rate && next_random() < stall_rate;
        // One port: a vector's beat goes before a matrix's. Its ready depends on registers alone, and is known by now.
        const bool vector = !vectors.runs.empty() && !stalled;
        top.PORT(request, ready) = matrix.runs.size() < 4;
        top.PORT(vector_request, ready) = vectors.runs.size() < 4;
        top.PORT(vector_beats, valid) = vector;
        top.PORT(beats, valid) = !matrix.runs.empty() && !stalled && !(vector && top.PORT(vector_beats, ready));
        top.PORT(tokens, valid) = !tokens.empty();
        if (!tokens.empty()) top.PORT(tokens, payload) = tokens.front();
        clock();
        progress = matrix.request || matrix.beat || vectors.request || vectors.beat || handover.token || handover.result ||
                   handover.raw;
        if (serve(matrix)) copy(matrix, &top.PORT(beats, payload));
        if (serve(vectors)) copy(vectors, &top.PORT(vector_beats, payload));
        if (handover.token) tokens.pop_front();
    }

    // The last result was taken, but other streams' turns may still pass.
    void settle() {
        for (int k = 0; k < 64 && !top.idle; k++) step();
    }

    // Moves a channel on; whether another beat is at its front now.
    bool serve(Channel &channel) {
        if (channel.beat) {
            auto &now = channel.runs.front();
            now.first++;
            if (--now.second == 0) channel.runs.pop_front();
        }
        if (channel.request) {
            const uint64_t address = channel.pending & 0xffffffffu, count = channel.pending >> 32;
            if (count == 0 || address + count > beats) {
                stop = OUT_OF_RANGE;
                pending = channel.pending;
                return false;
            }
            channel.runs.emplace_back(address, count);
        }
        return (channel.beat || channel.request) && !channel.runs.empty();
    }

    template <typename Port> void copy(const Channel &channel, Port *port) {
        std::memcpy(port, memory + channel.runs.front().first * beat_bytes, beat_bytes);
    }
};

}  // namespace

EXPORT void *tritforge_new(const uint8_t *memory, uint64_t beats, uint64_t beat_bytes) {
    auto *runner = new Runner;
    runner->memory = memory;
    runner->beats = beats;
    runner->beat_bytes = beat_bytes;
    runner->top.PORT(raw, ready) = 1;
    runner->top.rst = 1;
    for (int k = 0; k < 4; k++) runner->clock();
    runner->top.rst = 0;
    runner->clock();
    runner->cycle = 0;
    return runner;
}

EXPORT void tritforge_free(void *handle) { delete static_cast<Runner *>(handle); }

EXPORT void tritforge_reset(void *handle) {
    auto &runner = *static_cast<Runner *>(handle);
    runner.matrix.runs.clear();
    runner.vectors.runs.clear();
    runner.tokens.clear();
    runner.raw.clear();
    runner.top.rst = 1;
    runner.clock();
    runner.top.rst = 0;
    runner.clock();
}

EXPORT void tritforge_program(void *handle, const uint16_t *words, uint32_t count) {
    auto &runner = *static_cast<Runner *>(handle);
    runner.top.program_write = 1;
    for (uint32_t k = 0; k < count; k++) {
        runner.top.program_address = k;
        runner.top.program_word = words[k];
        runner.clock();
    }
    runner.top.program_write = 0;
}

EXPORT void tritforge_settings(void *handle, const uint8_t *packed, uint32_t bytes) {
    auto &runner = *static_cast<Runner *>(handle);
    std::memcpy(&runner.top.settings, packed, bytes < sizeof runner.top.settings ? bytes : sizeof runner.top.settings);
}

EXPORT void tritforge_memory(void *handle, uint32_t stall_rate, uint32_t seed, uint64_t patience) {
    auto &runner = *static_cast<Runner *>(handle);
    runner.stall_rate = stall_rate;
    runner.random = seed ? seed : 1;
    runner.patience = patience;
}

#if VM_TRACE_FST
// Begins a waveform, or without a path ends it.
EXPORT void tritforge_waveform(void *handle, const char *path) {
    auto &runner = *static_cast<Runner *>(handle);
    runner.waveform.reset();
    if (!path) return;
    runner.context.traceEverOn(true);
    runner.waveform = std::make_unique<VerilatedFstC>();
    runner.waveform->set_time_unit("1ns");
    runner.waveform->set_time_resolution("1ns");
    runner.top.trace(runner.waveform.get(), 99);
    runner.waveform->open(path);
}
#endif

EXPORT void tritforge_trace(void *handle, int on) { static_cast<Runner *>(handle)->trace = on != 0; }

EXPORT void tritforge_write_state(void *handle, uint32_t stream, const int16_t *values, uint32_t count, uint32_t position) {
    auto &runner = *static_cast<Runner *>(handle);
    runner.top.state_stream = stream;
    runner.top.state_write = 1;
    for (uint32_t k = 0; k < count; k++) {
        runner.top.state_address = k;
        runner.top.state_write_value = static_cast<uint16_t>(values[k]);
        runner.clock();
    }
    runner.top.state_write = 0;
    runner.top.set_position = 1;
    runner.top.new_position = position;
    runner.clock();
    runner.top.set_position = 0;
}

EXPORT uint32_t tritforge_read_state(void *handle, uint32_t stream, int16_t *values, uint32_t count) {
    auto &runner = *static_cast<Runner *>(handle);
    runner.settle();
    runner.top.state_stream = stream;
    for (uint32_t k = 0; k < count; k++) {
        runner.top.state_address = k;
        runner.step();  // the next token's first weights may be on their way
        values[k] = static_cast<int16_t>(runner.top.state_value);
    }
    uint32_t position;
    std::memcpy(&position, reinterpret_cast<const uint32_t *>(&runner.top.positions) + stream, sizeof position);
    return position;
}

EXPORT void tritforge_push(void *handle, const uint64_t *tokens, uint32_t count) {
    auto &runner = *static_cast<Runner *>(handle);
    runner.tokens.insert(runner.tokens.end(), tokens, tokens + count);
}

// Takes the result at which `tritforge_run` has stopped.
EXPORT void tritforge_accept(void *handle) {
    auto &runner = *static_cast<Runner *>(handle);
    runner.top.PORT(results, ready) = 1;
    runner.step();
    runner.top.PORT(results, ready) = 0;
}

// Runs until a result comes, all tokens are consumed, or nothing has moved for `patience` cycles.
EXPORT int tritforge_run(void *handle) {
    auto &runner = *static_cast<Runner *>(handle);
    runner.stop = WAITS;
    uint64_t quiet = 0;
    for (;;) {
        runner.step();
        if (runner.stop != WAITS) return runner.stop;
        if (runner.handover.result) return RESULT;
        if (runner.tokens.empty() && runner.top.idle) return WAITS;
        quiet = runner.progress ? 0 : quiet + 1;
        if (quiet > runner.patience) return STUCK;
    }
}

EXPORT uint64_t tritforge_result(void *handle) { return static_cast<Runner *>(handle)->result; }
EXPORT uint64_t tritforge_cycles(void *handle) { return static_cast<Runner *>(handle)->top.cycles; }
EXPORT void tritforge_causes(void *handle, uint64_t *out) {
    std::memcpy(out, static_cast<Runner *>(handle)->causes, sizeof(uint64_t) * CAUSES);
}
EXPORT uint64_t tritforge_saturations(void *handle) { return static_cast<Runner *>(handle)->top.saturations; }
EXPORT uint64_t tritforge_pending(void *handle) { return static_cast<Runner *>(handle)->pending; }

EXPORT uint64_t tritforge_status(void *handle) {
    auto &runner = *static_cast<Runner *>(handle);
    runner.top.eval();
    return static_cast<uint64_t>(runner.top.status);
}

EXPORT uint64_t tritforge_raw_count(void *handle) { return static_cast<Runner *>(handle)->raw.size(); }

EXPORT void tritforge_take_raw(void *handle, uint64_t *out) {
    auto &raw = static_cast<Runner *>(handle)->raw;
    std::memcpy(out, raw.data(), raw.size() * sizeof out[0]);
    raw.clear();
}

EXPORT uint64_t tritforge_event_count(void *handle) { return static_cast<Runner *>(handle)->events.size(); }

EXPORT void tritforge_take_events(void *handle, void *out) {
    auto &events = static_cast<Runner *>(handle)->events;
    std::memcpy(out, events.data(), events.size() * sizeof(Event));
    events.clear();
}
