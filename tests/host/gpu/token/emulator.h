// SPDX-License-Identifier: Apache-2.0
// Runs a kernel's blocks one after the other on the CPU: every thread is a coroutine that gives way
// at barriers and where a warp works together.  Enough of CUDA for host/gpu/token.
#pragma once
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>
#include <math.h>
#include <utility>

#define __CUDA_EMULATED__
#define __device__
#define __forceinline__ inline
#define __restrict__
#define SHARED static
#define KERNEL static void

struct Dimension { int x; };
static Dimension threadIdx, blockIdx;

template <class T> T fresh(const T* at) { return *at; }

namespace emulator {
constexpr int STACK = 64 * 1024, MOST = 1024;
struct Thread {
  jmp_buf place;
  ucontext_t first;
  bool begun, done;
  int barrier, warp;  // how often it arrived
  unsigned value;
};
static Thread threads[MOST];
static char* stacks;
static jmp_buf scheduler;
static ucontext_t scheduler_first;
static int count, current;
static void (*body)(void**);
static void** arguments;

static void give_way() {
  const int me = current;
  if (!_setjmp(threads[me].place)) _longjmp(scheduler, 1);
  current = me;
  threadIdx.x = me;
}

static void begin() {
  body(arguments);
  threads[current].done = true;
  _longjmp(scheduler, 1);
}

static void resume(int i) {
  current = i;
  threadIdx.x = i;
  if (_setjmp(scheduler)) return;
  if (threads[i].begun) _longjmp(threads[i].place, 1);
  threads[i].begun = true;
  setcontext(&threads[i].first);
}

static void run_block(int block, int size, void (*f)(void**), void** args) {
  blockIdx.x = block;
  count = size;
  body = f;
  arguments = args;
  if (!stacks) stacks = static_cast<char*>(malloc(static_cast<size_t>(STACK) * MOST));
  for (int i = 0; i < size; i++) {
    Thread& t = threads[i];
    t.begun = t.done = false;
    t.barrier = t.warp = 0;
    getcontext(&t.first);
    t.first.uc_stack.ss_sp = stacks + static_cast<size_t>(STACK) * i;
    t.first.uc_stack.ss_size = STACK;
    t.first.uc_link = nullptr;
    makecontext(&t.first, begin, 0);
  }
  for (bool left = true; left;) {
    left = false;
    // Backwards every other time would hide nothing: what races shows in one of the two orders.
    for (int i = size - 1; i >= 0; i--)
      if (!threads[i].done) {
        resume(i);
        left = true;
      }
  }
}

// Wait until all of first .. last that still run have come as far.
static void meet(int Thread::*counter, int first, int last) {
  const int mine = ++(threads[current].*counter);
  for (;;) {
    bool all = true;
    for (int i = first; i < last && all; i++)
      all = threads[i].done || threads[i].*counter >= mine;
    if (all) return;
    give_way();
  }
}

// f over the values of a warp's lanes.
template <class F>
static unsigned together(unsigned value, F f) {
  const int me = current, first = me / 32 * 32;
  threads[me].value = value;
  meet(&Thread::warp, first, first + 32);
  const unsigned out = f(first);
  meet(&Thread::warp, first, first + 32);  // nobody moves on while a value is still wanted
  return out;
}

template <class... A, size_t... I>
static void call(void (*kernel)(A...), void** args, std::index_sequence<I...>) {
  kernel(*static_cast<A*>(args[I])...);
}
template <class... A>
static void call(void (*kernel)(A...), void** args) {
  call(kernel, args, std::index_sequence_for<A...>());
}
}  // namespace emulator

static void __syncthreads() {
  emulator::meet(&emulator::Thread::barrier, 0, emulator::count);
}
static void follow() {}
static void __threadfence() {}
static int __popc(unsigned v) { return __builtin_popcount(v); }
static unsigned __ballot_sync(unsigned, int vote) {
  return emulator::together(vote != 0, [](int first) {
    unsigned out = 0;
    for (int i = 0; i < 32; i++) out |= emulator::threads[first + i].value << i;
    return out;
  });
}
static unsigned __reduce_add_sync(unsigned, unsigned v) {
  return emulator::together(v, [](int first) {
    unsigned out = 0;
    for (int i = 0; i < 32; i++) out += emulator::threads[first + i].value;
    return out;
  });
}
static int __reduce_add_sync(unsigned mask, int v) {
  return static_cast<int>(__reduce_add_sync(mask, static_cast<unsigned>(v)));
}
static unsigned __reduce_max_sync(unsigned, unsigned v) {
  return emulator::together(v, [](int first) {
    unsigned out = 0;
    for (int i = 0; i < 32; i++)
      out = emulator::threads[first + i].value > out ? emulator::threads[first + i].value : out;
    return out;
  });
}
static int __reduce_max_sync(unsigned mask, int v) {
  return static_cast<int>(__reduce_max_sync(mask, static_cast<unsigned>(v) ^ 1u << 31) ^ 1u << 31);
}
static unsigned __shfl_xor_sync(unsigned, unsigned v, int apart) {
  const int me = emulator::current;
  return emulator::together(v, [=](int) { return emulator::threads[me ^ apart].value; });
}
static int __shfl_xor_sync(unsigned mask, int v, int apart) {
  return static_cast<int>(__shfl_xor_sync(mask, static_cast<unsigned>(v), apart));
}
static unsigned long long __shfl_xor_sync(unsigned mask, unsigned long long v, int apart) {
  const unsigned low = __shfl_xor_sync(mask, static_cast<unsigned>(v), apart);
  return static_cast<unsigned long long>(
             __shfl_xor_sync(mask, static_cast<unsigned>(v >> 32), apart)) << 32 | low;
}
template <class T> static T atomicAdd(T* at, T v) {
  const T old = *at;
  *at += v;
  return old;
}
template <class T> static T atomicMax(T* at, T v) {
  const T old = *at;
  if (v > old) *at = v;
  return old;
}
static int dot_signed(unsigned u, unsigned q, int acc) {
  for (int i = 0; i < 4; i++)
    acc += static_cast<int>(u >> 8 * i & 255) * static_cast<signed char>(q >> 8 * i);
  return acc;
}
static unsigned dot_unsigned(unsigned u, unsigned c, unsigned acc) {
  for (int i = 0; i < 4; i++) acc += (u >> 8 * i & 255) * (c >> 8 * i & 255);
  return acc;
}
