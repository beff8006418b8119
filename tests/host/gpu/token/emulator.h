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
#define KERNEL static void
#define STATE(Type, name) \
  static Type name##_of[8]; \
  emulator::know(name##_of, sizeof(Type)); \
  Type& name = name##_of[emulator::rank]

struct Dimension { int x; };
static Dimension threadIdx, blockIdx;

template <class T> T fresh(const T* at) { return *at; }
template <class T> void fresh4(T (&out)[4], const T* at) {
  for (int k = 0; k < 4; k++) out[k] = at[k];
}

namespace emulator {
constexpr int STACK = 32 * 1024 + 960, MOST = 8192;  // stacks that share no cache set
struct Thread {
  jmp_buf place;
  ucontext_t first;
  bool begun, done;
  int barrier, warp, cluster, some, passed;  // how often it arrived, and went on
  unsigned value;
};
static Thread threads[MOST];
static char* stacks;
static jmp_buf scheduler;
static ucontext_t scheduler_first;
static int count, size, current, first_block, rank;
static void (*body)(void**);
static void** arguments;

// Shared memory that blocks of a cluster write to.
static struct {
  char* base;
  size_t size;
} states[2];
static void know(void* base, size_t bytes) {
  int i = 0;
  while (states[i].base && states[i].base != base) i++;
  states[i] = {static_cast<char*>(base), bytes};
}

static void give_way() {
  const int me = current;
  if (!_setjmp(threads[me].place)) _longjmp(scheduler, 1);
}

static void begin() {
  body(arguments);
  threads[current].done = true;
  _longjmp(scheduler, 1);
}

static void resume(int i) {
  current = i;
  threadIdx.x = i % size;
  rank = i / size;
  blockIdx.x = first_block + rank;
  if (_setjmp(scheduler)) return;
  if (threads[i].begun) _longjmp(threads[i].place, 1);
  threads[i].begun = true;
  setcontext(&threads[i].first);
}

// Resume a warp's threads once; whether any came further.
static bool advance(int first) {
  bool moved = false;
  for (int i = first + 31; i >= first; i--) {
    Thread& t = threads[i];
    if (t.done) continue;
    const int before = t.barrier + t.warp + t.cluster + t.some + t.passed;
    resume(i);
    moved |= t.done || t.barrier + t.warp + t.cluster + t.some + t.passed != before;
  }
  return moved;
}

// One cluster of blocks.
static void run(int block, int ranks, int block_size, void (*f)(void**), void** args) {
  first_block = block;
  size = block_size;
  count = ranks * size;
  body = f;
  arguments = args;
  if (!stacks) stacks = static_cast<char*>(malloc(static_cast<size_t>(STACK) * MOST));
  for (int i = 0; i < count; i++) {
    Thread& t = threads[i];
    t.begun = t.done = false;
    t.barrier = t.warp = t.cluster = t.some = t.passed = 0;
    getcontext(&t.first);
    t.first.uc_stack.ss_sp = stacks + static_cast<size_t>(STACK) * i;
    t.first.uc_stack.ss_size = STACK;
    t.first.uc_link = nullptr;
    makecontext(&t.first, begin, 0);
  }
  for (bool left = true; left;) {
    left = false;
    for (int warp = count - 32; warp >= 0; warp -= 32)
      while (advance(warp)) left = true;
  }
}

// Wait until all of first .. last that still run have come as far.
static void meet(int Thread::*counter, int first, int last) {
  const int mine = ++(threads[current].*counter);
  for (;;) {
    bool all = true;
    for (int i = first; i < last && all; i++)
      all = threads[i].done || threads[i].*counter >= mine;
    if (all) {
      threads[current].passed++;
      return;
    }
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
  const int first = emulator::rank * emulator::size;
  emulator::meet(&emulator::Thread::barrier, first, first + emulator::size);
}
template <int COUNT>
static void barrier_of() {
  const int first = emulator::rank * emulator::size;
  emulator::meet(&emulator::Thread::some, first, first + COUNT);
}
static void __syncwarp() {
  const int first = emulator::current / 32 * 32;
  emulator::meet(&emulator::Thread::warp, first, first + 32);
}
static void cluster_barrier() {
  emulator::meet(&emulator::Thread::cluster, 0, emulator::count);
}
template <class T> T* peer(T* own, int rank) {
  char* at = reinterpret_cast<char*>(own);
  for (auto& each : emulator::states)
    if (at >= each.base && at < each.base + 8 * each.size)
      return reinterpret_cast<T*>(at + static_cast<long>(each.size) * (rank - emulator::rank));
  abort();
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
static int __shfl_up_sync(unsigned, int v, int apart) {
  const int me = emulator::current;
  return static_cast<int>(emulator::together(static_cast<unsigned>(v), [=](int) {
    return emulator::threads[me % 32 >= apart ? me - apart : me].value;
  }));
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
