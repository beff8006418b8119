/* SPDX-License-Identifier: Apache-2.0 */
/* The driver against a device in C: a token is read in each look at the queues' levels, and the
 * tokens that follow one another are 5 t + 3.  Exits with the line of the first check that fails.
 * With an image's file as argument it is loaded; with "sampling" words for temperatures are printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tritforge.h"

#define CHECK(x) do { if (!(x)) { fprintf(stderr, "line %d: %s\n", __LINE__, #x); exit(1); } } while (0)
#define QUEUE 4u
#define WORDS 65536u

typedef struct {
  uint32_t words[1024];
  uint32_t prompt[QUEUE], generated[QUEUE];
  uint32_t prompt_held, generated_held;
  uint32_t prompt_left, generate_left, token;
  uint32_t memory[WORDS];
  uint32_t loaded, address;
  uint32_t accesses, settle;
  int hangs, breaks, runs;
  uint32_t high;
} mock;

static uint32_t *at(mock *device, uint32_t offset)
{
  CHECK(offset % 4 == 0 && offset < TRITFORGE_BYTES);
  return &device->words[offset / 4];
}

static void mock_reset(mock *device, uint64_t hash)
{
  memset(device, 0, sizeof *device);
  *at(device, TRITFORGE_ID) = TRITFORGE_IDENTITY;
  *at(device, TRITFORGE_VERSION) = TRITFORGE_VERSION_RESET;
  *at(device, TRITFORGE_CONFIG_HASH_LOW) = (uint32_t)(hash & 0xffffffffu);
  *at(device, TRITFORGE_CONFIG_HASH_HIGH) = (uint32_t)(hash >> 32);
  *at(device, TRITFORGE_ARRAY) = TRITFORGE_SET(ARRAY_ROWS, 4) | TRITFORGE_SET(ARRAY_LANES, 16);
  *at(device, TRITFORGE_CACHE) = TRITFORGE_SET(CACHE_WINDOW, 128) | TRITFORGE_SET(CACHE_SLOTS, 2);
  *at(device, TRITFORGE_QUEUES) = TRITFORGE_SET(QUEUES_PROMPT, QUEUE)
    | TRITFORGE_SET(QUEUES_GENERATED, QUEUE);
}

static void push(mock *device, uint32_t token, int last)
{
  CHECK(device->generated_held < QUEUE);
  device->generated[device->generated_held++] = TRITFORGE_SET(GENERATED_TOKEN_VALID, 1)
    | TRITFORGE_SET(GENERATED_TOKEN_LAST, last) | token;
}

/* Read one token. */
static void tick(mock *device)
{
  if (device->settle)
    device->settle--;
  if (!device->runs || device->hangs)
    return;
  if (device->breaks && device->generated_held == 2) {
    *at(device, TRITFORGE_ERRORS) |= TRITFORGE_ERRORS_WATCHDOG_MASK;
    device->runs = 0;
  } else if (device->prompt_left) {
    if (device->prompt_held) {
      device->token = device->prompt[0];
      memmove(device->prompt, device->prompt + 1, --device->prompt_held * sizeof(uint32_t));
      device->prompt_left--;
    }
  } else if (device->generate_left && device->generated_held < QUEUE) {
    uint32_t stop = *at(device, TRITFORGE_STOP_TOKEN);
    int ends = --device->generate_left == 0;
    device->token = (device->token * 5 + 3) & TRITFORGE_GENERATED_TOKEN_TOKEN_MASK;
    ends |= TRITFORGE_GET(stop, STOP_TOKEN_ENABLE)
      && TRITFORGE_GET(stop, STOP_TOKEN_TOKEN) == device->token;
    push(device, device->token, ends);
    if (ends)
      device->generate_left = 0;
  }
  if (!device->prompt_left && !device->generate_left)
    device->runs = 0;
}

static uint32_t mock_read(void *context, uint32_t offset)
{
  mock *device = context;
  device->accesses++;
  switch (offset) {
  case TRITFORGE_LEVELS:
    tick(device);
    return TRITFORGE_SET(LEVELS_PROMPT_SPACE, QUEUE - device->prompt_held)
      | TRITFORGE_SET(LEVELS_GENERATED, device->generated_held);
  case TRITFORGE_STATUS:
    tick(device);
    return TRITFORGE_SET(STATUS_IDLE, !device->runs && !device->settle);
  case TRITFORGE_GENERATED_TOKEN: {
    uint32_t word = device->generated[0];
    CHECK(device->generated_held);
    memmove(device->generated, device->generated + 1, --device->generated_held * sizeof word);
    return word;
  }
  case TRITFORGE_COUNT_CYCLES:
    device->high = 0x89abcdefu;
    return 0x01234567u;
  case TRITFORGE_COUNT_CYCLES_HIGH:
    return device->high;
  default:
    return *at(device, offset);
  }
}

static void mock_write(void *context, uint32_t offset, uint32_t word)
{
  mock *device = context;
  device->accesses++;
  switch (offset) {
  case TRITFORGE_CONTROL:
    if (word & TRITFORGE_CONTROL_SOFT_RESET_MASK) {
      device->runs = device->hangs = 0;
      device->prompt_held = device->generated_held = 0;
      device->settle = 5;
    }
    if (word & TRITFORGE_CONTROL_START_MASK) {
      CHECK(!device->runs);
      device->runs = 1;
      device->prompt_left = *at(device, TRITFORGE_PROMPT_COUNT);
      device->generate_left = *at(device, TRITFORGE_GENERATE_COUNT);
    }
    return;
  case TRITFORGE_PROMPT_TOKEN:
    CHECK(device->prompt_held < QUEUE);
    device->prompt[device->prompt_held++] = word;
    return;
  case TRITFORGE_ERRORS:
    *at(device, offset) &= ~word;
    return;
  case TRITFORGE_IMAGE_ADDRESS:
    device->address = word;
    device->loaded = 0;
    return;
  case TRITFORGE_IMAGE_DATA:
    CHECK(device->loaded < WORDS);
    device->memory[device->loaded++] = word;
    return;
  default:
    *at(device, offset) = word;
  }
}

static mock there;
static tritforge_device device;
static const tritforge_bus bus = {mock_read, mock_write, &there};

static void fresh(void)
{
  mock_reset(&there, TRITFORGE_CONFIG_HASH);
  CHECK(tritforge_probe(&device, &bus, TRITFORGE_CONFIG_HASH) == TRITFORGE_OK);
}

static void probes(void)
{
  fresh();
  CHECK(device.config_hash == TRITFORGE_CONFIG_HASH);
  CHECK(device.rows == 4 && device.lanes == 16 && device.window == 128 && device.slots == 2);
  CHECK(device.prompt_queue == QUEUE && device.generated_queue == QUEUE);
  CHECK(tritforge_probe(&device, &bus, 0) == TRITFORGE_OK);
  CHECK(tritforge_probe(&device, &bus, 7) == TRITFORGE_OTHER_CONFIG);
  *at(&there, TRITFORGE_VERSION) += 1u << 16;
  CHECK(tritforge_probe(&device, &bus, 0) == TRITFORGE_OTHER_VERSION);
  *at(&there, TRITFORGE_ID) = 0xffffffffu;
  there.accesses = 0;
  CHECK(tritforge_probe(&device, &bus, 0) == TRITFORGE_NO_DEVICE);
  CHECK(there.accesses == 1);
}

static void generates(void)
{
  uint32_t prompt[11], tokens[40];
  tritforge_request request = {0};
  size_t count, n;
  uint32_t token;
  fresh();
  for (n = 0; n < 11; n++)
    prompt[n] = (uint32_t)n + 100;
  request.slot = 1;
  request.prompt_count = 11;
  request.generate_count = 40;
  request.sampling = tritforge_sampling(0.8);
  request.seed = 99;
  CHECK(tritforge_generate(&device, &request, prompt, tokens, 40, &count, 10) == TRITFORGE_OK);
  CHECK(count == 40);
  for (token = 110, n = 0; n < 40; n++)
    CHECK(tokens[n] == (token = (token * 5 + 3) & 0xffffffu));
  CHECK(*at(&there, TRITFORGE_KV_SLOT) == 1 && *at(&there, TRITFORGE_SEED) == 99);
  CHECK(*at(&there, TRITFORGE_SAMPLING) == request.sampling);

  request.stops = true;
  request.stop_token = tokens[6];
  CHECK(tritforge_generate(&device, &request, prompt, tokens, 40, &count, 10) == TRITFORGE_OK);
  CHECK(count == 7 && tokens[6] == request.stop_token);

  request.generate_count = 0; /* the prompt alone */
  CHECK(tritforge_generate(&device, &request, prompt, tokens, 0, &count, 50) == TRITFORGE_OK);
  CHECK(count == 0 && there.prompt_held == 0);
}

static void refuses(void)
{
  uint32_t tokens[4];
  tritforge_request request = {0};
  size_t count;
  fresh();
  request.generate_count = 5;
  CHECK(tritforge_generate(&device, &request, tokens, tokens, 4, &count, 9)
        == TRITFORGE_BAD_ARGUMENT);
  request.generate_count = 1u << 20;
  CHECK(tritforge_start(&device, &request) == TRITFORGE_BAD_ARGUMENT);
  request.generate_count = 4;
  request.slot = 2;
  CHECK(tritforge_start(&device, &request) == TRITFORGE_BAD_ARGUMENT);
  request.slot = 0;
  request.stop_token = 1u << 24;
  CHECK(tritforge_start(&device, &request) == TRITFORGE_BAD_ARGUMENT);
  CHECK(!there.runs);
  CHECK(tritforge_set_image(&device, 4095) == TRITFORGE_BAD_ARGUMENT);
  CHECK(tritforge_set_image(&device, 0x123456000u) == TRITFORGE_OK);
  CHECK(*at(&there, TRITFORGE_IMAGE_BASE_LOW) == 0x23456000u);
  CHECK(*at(&there, TRITFORGE_IMAGE_BASE_HIGH) == 1);
}

static void recovers(void)
{
  uint32_t prompt[2] = {5, 6}, tokens[8];
  tritforge_request request = {0};
  size_t count;
  fresh();
  request.prompt_count = 2;
  request.generate_count = 8;
  there.hangs = 1;
  CHECK(tritforge_generate(&device, &request, prompt, tokens, 8, &count, 20) == TRITFORGE_TIMEOUT);
  CHECK(count == 0);
  CHECK(tritforge_start(&device, &request) == TRITFORGE_BUSY);
  CHECK(tritforge_soft_reset(&device, 2) == TRITFORGE_TIMEOUT);
  CHECK(tritforge_soft_reset(&device, 20) == TRITFORGE_OK);
  CHECK(tritforge_generate(&device, &request, prompt, tokens, 8, &count, 20) == TRITFORGE_OK);
  CHECK(count == 8);

  there.breaks = 1;
  there.generated_held = 0;
  *at(&there, TRITFORGE_ERRORS) = 0;
  CHECK(tritforge_start(&device, &request) == TRITFORGE_OK);
  CHECK(tritforge_put(&device, prompt, 2) == 2);
  while (!tritforge_errors(&device))
    tick(&there);
  CHECK(strcmp(tritforge_error_name(tritforge_errors(&device)), "watchdog") == 0);
  tritforge_clear_errors(&device, TRITFORGE_ERRORS_WATCHDOG_MASK);
  CHECK(tritforge_errors(&device) == 0);
  CHECK(strcmp(tritforge_error_name(0), "none") == 0);
  CHECK(strcmp(tritforge_error_name(0x80000000u), "unknown") == 0);
  CHECK(tritforge_soft_reset(&device, 20) == TRITFORGE_OK);

  there.breaks = 0;
  there.hangs = 1;
  *at(&there, TRITFORGE_ERRORS) = TRITFORGE_ERRORS_TOKEN_RANGE_MASK;
  CHECK(tritforge_generate(&device, &request, prompt, tokens, 8, &count, 20) == TRITFORGE_FAULT);
  CHECK(tritforge_counter(&device, TRITFORGE_COUNT_CYCLES) == 0x89abcdef01234567u);
}

static void loads(const char *path)
{
  static uint8_t image[4 * WORDS];
  FILE *file = fopen(path, "rb");
  size_t size, place;
  uint32_t beats, bytes, words, beat;
  CHECK(file != NULL);
  size = fread(image, 1, sizeof image, file);
  fclose(file);
  fresh();
  CHECK(tritforge_load_image(&device, image, size) == TRITFORGE_OK);
  beats = image[8] | (uint32_t)image[9] << 8;
  bytes = (uint32_t)size / beats;
  words = (bytes + 3) / 4;
  CHECK(there.address == 0 && there.loaded == beats * words);
  for (beat = 0; beat < beats; beat++)
    for (place = 0; place < 4 * words; place++) {
      uint32_t wanted = place < bytes ? image[beat * bytes + place] : 0;
      CHECK((there.memory[beat * words + place / 4] >> 8 * (place % 4) & 255u) == wanted);
    }

  there.loaded = 0;
  *at(&there, TRITFORGE_MEMORY) = TRITFORGE_SET(MEMORY_DATA_BITS, 128);
  CHECK(tritforge_probe(&device, &bus, 0) == TRITFORGE_OK && device.memory_bits == 128);
  CHECK(tritforge_load_image(&device, image, size) == TRITFORGE_UNSUPPORTED);
  CHECK(tritforge_check_image(image, size, 5) == TRITFORGE_OTHER_CONFIG);
  CHECK(tritforge_check_image(image, size - 1, device.config_hash) == TRITFORGE_BAD_IMAGE);
  CHECK(tritforge_check_image(image, 7, device.config_hash) == TRITFORGE_BAD_IMAGE);
  for (place = 0; place < size; place += 1 + size / 97) {
    image[place] ^= 16;
    CHECK(tritforge_check_image(image, size, device.config_hash) == TRITFORGE_BAD_IMAGE);
    image[place] ^= 16;
  }
  CHECK(tritforge_check_image(image, size, device.config_hash) == TRITFORGE_OK);
  CHECK(there.loaded == 0);
}

int main(int argc, char **argv)
{
  if (argc == 1) {
    probes();
    generates();
    refuses();
    recovers();
  } else if (strcmp(argv[1], "sampling") == 0) {
    int each;
    for (each = 2; each < argc; each++)
      printf("%lu\n", (unsigned long)tritforge_sampling(strtod(argv[each], NULL)));
  } else {
    loads(argv[1]);
  }
  return 0;
}
