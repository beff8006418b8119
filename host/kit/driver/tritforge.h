/* SPDX-License-Identifier: Apache-2.0 */
/* A driver of the accelerator for C99 and C++: words in, words out, no allocation, no library.
 *
 * Registers and their fields are in tritforge_registers.h, what this hardware was generated with is
 * in tritforge_config.h.  Every function that can fail returns a `tritforge_result`.
 */
#ifndef TRITFORGE_DRIVER_H
#define TRITFORGE_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tritforge_config.h"
#include "tritforge_registers.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  TRITFORGE_OK = 0,
  TRITFORGE_NO_DEVICE,     /* ID is not an accelerator's */
  TRITFORGE_OTHER_VERSION, /* its register table has another major version */
  TRITFORGE_OTHER_CONFIG,  /* it, or the image, is of another configuration */
  TRITFORGE_BAD_IMAGE,     /* no image, or a damaged one */
  TRITFORGE_BAD_ARGUMENT,  /* a value that does not fit its register, or the device */
  TRITFORGE_UNSUPPORTED,   /* this hardware has no such registers */
  TRITFORGE_BUSY,          /* a start is under way */
  TRITFORGE_FAULT,         /* the device has set errors: tritforge_errors() */
  TRITFORGE_TIMEOUT        /* nothing moved for as many polls as were allowed */
} tritforge_result;

/* What carries accesses.  Offsets are bytes from the base of the registers. */
typedef struct {
  uint32_t (*read)(void *context, uint32_t offset);
  void (*write)(void *context, uint32_t offset, uint32_t word);
  void *context;
} tritforge_bus;

typedef struct {
  tritforge_bus bus;
  uint64_t config_hash;
  uint32_t version;         /* major in the upper half, minor in the lower */
  uint32_t rows, lanes;     /* of the ternary array */
  uint32_t window, slots;   /* tokens in a slot of the KV cache, and slots */
  uint32_t memory_bits;     /* width of the memory port; 0: weights are on chip */
  uint32_t prompt_queue, generated_queue;
} tritforge_device;

/* One start: a prompt, then tokens.  All of it zero is a greedy start of nothing in slot 0. */
typedef struct {
  uint32_t slot;
  uint32_t prompt_count;
  uint32_t generate_count;
  bool stops;               /* whether `stop_token` ends generation */
  uint32_t stop_token;
  uint32_t sampling;        /* tritforge_sampling(), or 0: greedy */
  uint32_t seed;
} tritforge_request;

/* Who answers.  `config_hash`: the configuration that it must have; 0: any. */
tritforge_result tritforge_probe(tritforge_device *device, const tritforge_bus *bus,
                                 uint64_t config_hash);

/* Whether these bytes are a whole, undamaged image for a configuration. */
tritforge_result tritforge_check_image(const void *image, size_t size, uint64_t config_hash);

/* Check an image and write it into the memory on the chip.  Where weights lie outside
 * (`memory_bits` is not 0), copy the image there and call tritforge_set_image() instead. */
tritforge_result tritforge_load_image(tritforge_device *device, const void *image, size_t size);

/* Address of the image in the memory outside, a multiple of 4096. */
tritforge_result tritforge_set_image(tritforge_device *device, uint64_t address);

/* Word of the register SAMPLING for a positive temperature; 0, which is greedy, for any other. */
uint32_t tritforge_sampling(double temperature);

tritforge_result tritforge_start(tritforge_device *device, const tritforge_request *request);

/* Put as many prompt tokens into the queue as there is room for; returns how many. */
size_t tritforge_put(tritforge_device *device, const uint32_t *tokens, size_t count);

/* Take the generated tokens that are there, at most `capacity`; returns how many.  `last` is set
 * if the last one of the start is among them, and left alone otherwise. */
size_t tritforge_take(tritforge_device *device, uint32_t *tokens, size_t capacity, bool *last);

/* Start, feed the prompt and collect tokens until the last.  `polls`: readings of the queues'
 * levels in a row without any movement after which it gives up.  `count` tokens were stored,
 * whatever the result is. */
tritforge_result tritforge_generate(tritforge_device *device, const tritforge_request *request,
                                    const uint32_t *prompt, uint32_t *tokens, size_t capacity,
                                    size_t *count, uint32_t polls);

/* Drop what is in work, and wait until the device is idle for at most `polls` readings. */
tritforge_result tritforge_soft_reset(tritforge_device *device, uint32_t polls);

/* Sticky errors, one bit each: TRITFORGE_ERRORS_..._MASK.  `name` gives the lowest one's. */
uint32_t tritforge_errors(const tritforge_device *device);
void tritforge_clear_errors(tritforge_device *device, uint32_t errors);
const char *tritforge_error_name(uint32_t errors);

/* A counter by the offset of its low word, for example TRITFORGE_COUNT_CYCLES. */
uint64_t tritforge_counter(const tritforge_device *device, uint32_t offset);

#ifdef __cplusplus
}
#endif

#endif /* TRITFORGE_DRIVER_H */
