// SPDX-License-Identifier: Apache-2.0
// C interface of a Verilated accelerator, for sim/system.py: a master on its control bus, a memory
// on its AXI4 port, and an observer. Everything advances by `cycle`; bus accesses take as many
// cycles as they take. Built with AXI_LITE or WISHBONE, and with AXI_MEMORY and WAVES if asked for.

#include "compiled.cpp"

#include <deque>
#include <vector>
#ifdef WAVES
#include "verilated_fst_c.h"
#endif

namespace {

struct Burst { uint64_t address; unsigned beats, id; uint64_t due; };

struct Event { uint64_t cycle; uint32_t trace; };

struct System {
    Model model;
    uint64_t cycles = 0, started = 0, shown = 0;
    uint32_t trace = 0;
    bool record = false, keep_logits = false;
    std::vector<Event> events;
    std::vector<uint64_t> tokens, given;   // first and last cycle of each token; cycle of each
    std::vector<uint32_t> logits, scales;
    // Memory on the AXI4 port.
    std::vector<uint8_t> bytes;
    uint64_t base = 0, latency = 20, bad_from = 0, bad_to = 0;
    unsigned bad_response = 0;
    bool silent = false;
    std::deque<Burst> bursts;
#ifdef WAVES
    VerilatedFstC *waves = nullptr;
#endif
};

enum { RUNNING = 1, TOKEN_DONE = 2, GIVEN = 4 };

// Half a cycle of waves.
void dump(System &system) {
#ifdef WAVES
    if (system.waves) system.waves->dump(system.shown++);
#endif
}

#ifdef AXI_MEMORY
constexpr unsigned beat_bytes = sizeof(Vdut::m_axi___05Frdata);

// What goes over the bus in this cycle; called ahead of its edge.
bool serve(System &system) {
    Vdut &top = system.model.top;
    if (top.m_axi___05Farvalid && top.m_axi___05Farready)
        system.bursts.push_back({top.m_axi___05Faraddr, top.m_axi___05Farlen + 1u,
                                 static_cast<unsigned>(top.m_axi___05Farid),
                                 system.cycles + system.latency});
    return top.m_axi___05Frvalid && top.m_axi___05Frready;
}

// What the memory shows in the next cycle.
void answer(System &system, bool taken) {
    Vdut &top = system.model.top;
    if (taken) {
        Burst &first = system.bursts.front();
        first.address += beat_bytes;
        if (--first.beats == 0) system.bursts.pop_front();
    }
    top.m_axi___05Farready = system.bursts.size() < 64;
    bool valid = !system.bursts.empty() && !system.silent
                 && system.bursts.front().due <= system.cycles;
    top.m_axi___05Frvalid = valid;
    if (!valid) return;
    const Burst &first = system.bursts.front();
    uint64_t offset = first.address / beat_bytes * beat_bytes - system.base;
    uint32_t words[beat_bytes / 4] = {};
    if (offset + beat_bytes <= system.bytes.size())
        std::memcpy(words, system.bytes.data() + offset, beat_bytes);
    set(top.m_axi___05Frdata, words);
    bool bad = first.address >= system.bad_from && first.address < system.bad_to;
    top.m_axi___05Frresp = bad ? system.bad_response : 0;
    top.m_axi___05Frlast = first.beats == 1;
    top.m_axi___05Frid = first.id;
}
#endif

void observe(System &system) {
    uint32_t now;
    get(system.model.top.observed, &now);
    if (now & RUNNING && !(system.trace & RUNNING)) system.started = system.cycles;
    if (now & TOKEN_DONE) {
        system.tokens.push_back(system.started);
        system.tokens.push_back(system.cycles);
    }
    if (now & GIVEN) system.given.push_back(system.cycles);
    if (system.record && now != system.trace) system.events.push_back({system.cycles, now});
    system.trace = now;
    if (!system.keep_logits) return;
    uint32_t logit[2] = {};
    get(system.model.top.logit, logit);
    if (!(logit[0] & 1)) return;
    system.logits.push_back(logit[0]);
    system.logits.push_back(logit[1]);
    uint32_t scale;
    get(system.model.top.logit_scale, &scale);
    system.scales.push_back(scale);
}

// Outputs are settled for the inputs of the cycle before and after.
void cycle(System &system) {
    Vdut &top = system.model.top;
    observe(system);
#ifdef AXI_MEMORY
    bool taken = serve(system);
#endif
    top.clk = 1;
    top.eval();
    dump(system);
    ++system.cycles;
#ifdef AXI_MEMORY
    answer(system, taken);
#endif
    top.clk = 0;
    top.eval();
    dump(system);
}

constexpr unsigned patience = 10000;   // cycles that an access may take
enum { OKAY = 0, REFUSED = 1, UNANSWERED = 2 };

#ifdef AXI_LITE
int access(System &system, bool write, uint32_t offset, uint32_t &data) {
    Vdut &top = system.model.top;
    if (write) {
        top.s_axi___05Fawvalid = top.s_axi___05Fwvalid = top.s_axi___05Fbready = 1;
        top.s_axi___05Fawaddr = offset;
        top.s_axi___05Fwdata = data;
        top.s_axi___05Fwstrb = 15;
    } else {
        top.s_axi___05Farvalid = top.s_axi___05Frready = 1;
        top.s_axi___05Faraddr = offset;
    }
    int result = UNANSWERED;
    for (unsigned n = 0; n < patience && result == UNANSWERED; ++n) {
        top.eval();
        bool aw = top.s_axi___05Fawvalid && top.s_axi___05Fawready;
        bool w = top.s_axi___05Fwvalid && top.s_axi___05Fwready;
        bool ar = top.s_axi___05Farvalid && top.s_axi___05Farready;
        if (write && top.s_axi___05Fbvalid) result = top.s_axi___05Fbresp ? REFUSED : OKAY;
        if (!write && top.s_axi___05Frvalid) {
            result = top.s_axi___05Frresp ? REFUSED : OKAY;
            data = top.s_axi___05Frdata;
        }
        cycle(system);
        if (aw) top.s_axi___05Fawvalid = 0;
        if (w) top.s_axi___05Fwvalid = 0;
        if (ar) top.s_axi___05Farvalid = 0;
    }
    top.s_axi___05Fbready = top.s_axi___05Frready = 0;
    top.eval();
    return result;
}
#else
int access(System &system, bool write, uint32_t offset, uint32_t &data) {
    Vdut &top = system.model.top;
    top.wb___05Fcyc = top.wb___05Fstb = 1;
    top.wb___05Fwe = write;
    top.wb___05Fadr = offset >> 2;
    top.wb___05Fsel = 15;
    top.wb___05Fdat_w = data;
    int result = UNANSWERED;
    for (unsigned n = 0; n < patience && result == UNANSWERED; ++n) {
        top.eval();
        bool taken = top.wb___05Fstb && !top.wb___05Fstall;
        if (top.wb___05Fack || top.wb___05Ferr) {
            result = top.wb___05Ferr ? REFUSED : OKAY;
            data = top.wb___05Fdat_r;
        }
        cycle(system);
#ifdef PIPELINED
        if (taken) top.wb___05Fstb = 0;
#else
        (void)taken;
#endif
    }
    top.wb___05Fcyc = top.wb___05Fstb = 0;
    top.eval();
    return result;
}
#endif

template <typename Item> uint64_t take(std::vector<Item> &from, void *to, uint64_t most) {
    uint64_t count = std::min<uint64_t>(most, from.size());
    std::memcpy(to, from.data(), count * sizeof(Item));
    from.erase(from.begin(), from.begin() + count);
    return count;
}

System &as_system(void *handle) { return *static_cast<System *>(handle); }

}  // namespace

extern "C" {

void *system_open(const char *waves) {
    auto *system = new System;
#ifdef WAVES
    if (waves) {
        system->model.context.traceEverOn(true);
        system->waves = new VerilatedFstC;
        system->model.top.trace(system->waves, 99);
        system->waves->open(waves);
    }
#endif
    Vdut &top = system->model.top;
    top.rst = 1;
    cycle(*system);
    cycle(*system);
    top.rst = 0;
    cycle(*system);   // it is registered
    system->cycles = 0;
    return system;
}

void system_close(void *handle) {
    auto *system = static_cast<System *>(handle);
    system->model.top.final();
#ifdef WAVES
    if (system->waves) {
        system->waves->close();
        delete system->waves;
    }
#endif
    delete system;
}

int system_read(void *handle, uint32_t offset, uint32_t *data) {
    return access(as_system(handle), false, offset, *data);
}

// One register, several words; stops at the first that is not taken.
int system_write(void *handle, uint32_t offset, const uint32_t *words, uint64_t count) {
    int result = OKAY;
    for (uint64_t n = 0; n < count && result == OKAY; ++n) {
        uint32_t word = words[n];
        result = access(as_system(handle), true, offset, word);
    }
    return result;
}

// Cycles until the interrupt, at most `limit`.
uint64_t system_run(void *handle, uint64_t limit) {
    System &system = as_system(handle);
    uint64_t n = 0;
    while (n < limit && !system.model.top.irq) {
        cycle(system);
        ++n;
    }
    return n;
}

uint64_t system_cycles(void *handle) { return as_system(handle).cycles; }

void system_record(void *handle, int events, int logits) {
    as_system(handle).record = events;
    as_system(handle).keep_logits = logits;
}

void system_memory(void *handle, uint64_t base, const uint8_t *bytes, uint64_t size) {
    System &system = as_system(handle);
    system.base = base;
    system.bytes.assign(bytes, bytes + size);
}

void system_temper(void *handle, uint64_t latency, uint64_t bad_from, uint64_t bad_to,
                   unsigned bad_response, int silent) {
    System &system = as_system(handle);
    system.latency = latency;
    system.bad_from = bad_from;
    system.bad_to = bad_to;
    system.bad_response = bad_response;
    system.silent = silent;
}

uint64_t system_events(void *handle, void *to, uint64_t most) {
    return take(as_system(handle).events, to, most);
}
uint64_t system_tokens(void *handle, void *to, uint64_t most) {
    return take(as_system(handle).tokens, to, most);
}
uint64_t system_given(void *handle, void *to, uint64_t most) {
    return take(as_system(handle).given, to, most);
}
uint64_t system_logits(void *handle, void *to, uint64_t most) {
    return take(as_system(handle).logits, to, most);
}
uint64_t system_scales(void *handle, void *to, uint64_t most) {
    return take(as_system(handle).scales, to, most);
}

}  // extern "C"
