// SPDX-License-Identifier: Apache-2.0
// C interface of a Verilated component, for sim/compiled.py. ports.inc has a line PORT(name) for
// each port; a value travels as 32-bit words, the least significant first.

#include <cstdint>
#include <cstring>

#include "Vdut.h"
#include "verilated.h"

namespace {

struct Model {
    VerilatedContext context;
    Vdut top{&context, "dut"};
};

template <typename Port> void set(Port &port, const uint32_t *words) {
    port = static_cast<Port>(words[0]);
}
void set(QData &port, const uint32_t *words) {
    port = static_cast<QData>(words[1]) << 32 | words[0];
}
template <std::size_t N> void set(VlWide<N> &port, const uint32_t *words) {
    std::memcpy(port.data(), words, N * sizeof(uint32_t));
}

template <typename Port> void get(const Port &port, uint32_t *words) { words[0] = port; }
void get(const QData &port, uint32_t *words) {
    words[0] = static_cast<uint32_t>(port);
    words[1] = static_cast<uint32_t>(port >> 32);
}
template <std::size_t N> void get(const VlWide<N> &port, uint32_t *words) {
    std::memcpy(words, port.data(), N * sizeof(uint32_t));
}

void tick(Model &model) {
    model.top.clk = 1;
    model.top.eval();
    model.top.clk = 0;
    model.top.eval();
}

}  // namespace

extern "C" {

void *model_open() { return new Model; }

void model_close(void *handle) {
    auto *model = static_cast<Model *>(handle);
    model->top.final();
    delete model;
}

void model_tick(void *handle, uint64_t cycles) {
    auto &model = *static_cast<Model *>(handle);
    while (cycles--) tick(model);
}

void model_reset(void *handle) {
    auto &model = *static_cast<Model *>(handle);
    model.top.rst = 1;
    tick(model);
    tick(model);
    model.top.rst = 0;
    tick(model);   // it is registered
}

void model_set(void *handle, unsigned index, const uint32_t *words) {
    auto &top = static_cast<Model *>(handle)->top;
    unsigned port = 0;
#define PORT(name) if (port++ == index) set(top.name, words);
#include "ports.inc"
#undef PORT
}

// Outputs settle first: an input may have been set since the last edge.
void model_get(void *handle, unsigned index, uint32_t *words) {
    auto &top = static_cast<Model *>(handle)->top;
    top.eval();
    unsigned port = 0;
#define PORT(name) if (port++ == index) get(top.name, words);
#include "ports.inc"
#undef PORT
}

// Cycles until the port has the value, or limit + 1.
uint64_t model_run_until(void *handle, unsigned index, uint32_t value, uint64_t limit) {
    auto &model = *static_cast<Model *>(handle);
    model.top.eval();
    uint32_t words[64];
    for (uint64_t cycle = 0; cycle <= limit; ++cycle) {
        unsigned port = 0;
#define PORT(name) if (port++ == index) get(model.top.name, words);
#include "ports.inc"
#undef PORT
        if (words[0] == value) return cycle;
        tick(model);
    }
    return limit + 1;
}

}  // extern "C"
