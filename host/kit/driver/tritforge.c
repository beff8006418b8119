/* SPDX-License-Identifier: Apache-2.0 */
#include "tritforge.h"

static const char *const error_names[] = TRITFORGE_ERROR_NAMES;

static uint32_t get(const tritforge_device *device, uint32_t offset)
{
  return device->bus.read(device->bus.context, offset);
}

static void put(tritforge_device *device, uint32_t offset, uint32_t word)
{
  device->bus.write(device->bus.context, offset, word);
}

static uint32_t little_endian(const uint8_t *bytes)
{
  return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16
    | (uint32_t)bytes[3] << 24;
}

tritforge_result tritforge_probe(tritforge_device *device, const tritforge_bus *bus,
                                 uint64_t config_hash)
{
  uint32_t word;
  device->bus = *bus;
  if (get(device, TRITFORGE_ID) != TRITFORGE_IDENTITY)
    return TRITFORGE_NO_DEVICE;
  device->version = get(device, TRITFORGE_VERSION);
  if (TRITFORGE_GET(device->version, VERSION_MAJOR) != TRITFORGE_MAP_MAJOR)
    return TRITFORGE_OTHER_VERSION;
  device->config_hash = get(device, TRITFORGE_CONFIG_HASH_LOW);
  device->config_hash |= (uint64_t)get(device, TRITFORGE_CONFIG_HASH_HIGH) << 32;
  word = get(device, TRITFORGE_ARRAY);
  device->rows = TRITFORGE_GET(word, ARRAY_ROWS);
  device->lanes = TRITFORGE_GET(word, ARRAY_LANES);
  word = get(device, TRITFORGE_CACHE);
  device->window = TRITFORGE_GET(word, CACHE_WINDOW);
  device->slots = TRITFORGE_GET(word, CACHE_SLOTS);
  device->memory_bits = TRITFORGE_GET(get(device, TRITFORGE_MEMORY), MEMORY_DATA_BITS);
  word = get(device, TRITFORGE_QUEUES);
  device->prompt_queue = TRITFORGE_GET(word, QUEUES_PROMPT);
  device->generated_queue = TRITFORGE_GET(word, QUEUES_GENERATED);
  if (config_hash != 0 && device->config_hash != config_hash)
    return TRITFORGE_OTHER_CONFIG;
  return TRITFORGE_OK;
}

/* CRC-32 of IEEE 802.3, the first eight bytes taken as zero. */
static uint32_t checksum(const uint8_t *bytes, size_t size)
{
  uint32_t crc = 0xffffffffu;
  size_t place;
  int bit;
  for (place = 0; place < size; place++) {
    crc ^= place < 8 ? 0u : bytes[place];
    for (bit = 0; bit < 8; bit++)
      crc = crc >> 1 ^ (crc & 1u ? 0xedb88320u : 0u);
  }
  return ~crc;
}

tritforge_result tritforge_check_image(const void *image, size_t size, uint64_t config_hash)
{
  const uint8_t *bytes = (const uint8_t *)image;
  uint32_t beats;
  uint64_t hash;
  if (size < TRITFORGE_IMAGE_HEADER_BYTES
      || little_endian(bytes + TRITFORGE_IMAGE_MAGIC_BYTE) != TRITFORGE_IMAGE_MAGIC)
    return TRITFORGE_BAD_IMAGE;
  beats = little_endian(bytes + TRITFORGE_IMAGE_BEATS_BYTE);
  if (beats == 0 || size % beats != 0)
    return TRITFORGE_BAD_IMAGE;
  if (little_endian(bytes + TRITFORGE_IMAGE_CRC_BYTE) != checksum(bytes, size))
    return TRITFORGE_BAD_IMAGE;
  hash = little_endian(bytes + TRITFORGE_IMAGE_CONFIG_HASH_BYTE);
  hash |= (uint64_t)little_endian(bytes + TRITFORGE_IMAGE_CONFIG_HASH_BYTE + 4) << 32;
  return hash == config_hash ? TRITFORGE_OK : TRITFORGE_OTHER_CONFIG;
}

tritforge_result tritforge_load_image(tritforge_device *device, const void *image, size_t size)
{
  tritforge_result result = tritforge_check_image(image, size, device->config_hash);
  if (result != TRITFORGE_OK)
    return result;
#ifdef TRITFORGE_IMAGE_DATA
  if (device->memory_bits == 0) {
    const uint8_t *beat = (const uint8_t *)image;
    const uint8_t *end = beat + size;
    size_t bytes = size / little_endian(beat + TRITFORGE_IMAGE_BEATS_BYTE);
    put(device, TRITFORGE_IMAGE_ADDRESS, 0);
    for (; beat != end; beat += bytes) {
      size_t place;
      for (place = 0; place < bytes; place += 4) {
        uint8_t word[4] = {0, 0, 0, 0}; /* a beat takes whole words */
        size_t each;
        for (each = 0; each < 4 && place + each < bytes; each++)
          word[each] = beat[place + each];
        put(device, TRITFORGE_IMAGE_DATA, little_endian(word));
      }
    }
    return TRITFORGE_OK;
  }
#endif
  return TRITFORGE_UNSUPPORTED;
}

tritforge_result tritforge_set_image(tritforge_device *device, uint64_t address)
{
  if (address % 4096 != 0)
    return TRITFORGE_BAD_ARGUMENT;
  put(device, TRITFORGE_IMAGE_BASE_LOW, (uint32_t)(address & 0xffffffffu));
  put(device, TRITFORGE_IMAGE_BASE_HIGH, (uint32_t)(address >> 32));
  return TRITFORGE_OK;
}

uint32_t tritforge_sampling(double temperature)
{
  double value = 1.4426950408889634 * 256.0 / temperature;
  double rest;
  int32_t exponent = 0;
  uint32_t mantissa;
  if (!(temperature > 0.0) || !(value > 0.0) || value > 1e30 || value < 1e-30)
    return 0;
  /* A mantissa in 2^15..2^16, rounded to nearest, ties to even. */
  for (; value >= 65536.0; value /= 2.0)
    exponent++;
  for (; value < 32768.0; value *= 2.0)
    exponent--;
  mantissa = (uint32_t)value;
  rest = value - (double)mantissa;
  if (rest > 0.5 || (rest >= 0.5 && (mantissa & 1u)))
    mantissa++;
  if (mantissa == 65536u) {
    mantissa = 32768u;
    exponent++;
  }
  return TRITFORGE_SET(SAMPLING_MANTISSA, mantissa)
    | TRITFORGE_SET(SAMPLING_EXPONENT, (uint32_t)exponent) | TRITFORGE_SET(SAMPLING_ENABLE, 1);
}

/* Whether a value fits a field that starts at bit 0. */
static bool fits(uint32_t value, uint32_t mask)
{
  return (value & ~mask) == 0;
}

tritforge_result tritforge_start(tritforge_device *device, const tritforge_request *request)
{
  if (!fits(request->prompt_count, TRITFORGE_PROMPT_COUNT_VALUE_MASK)
      || !fits(request->generate_count, TRITFORGE_GENERATE_COUNT_VALUE_MASK)
      || !fits(request->stop_token, TRITFORGE_STOP_TOKEN_TOKEN_MASK)
      || request->slot >= device->slots)
    return TRITFORGE_BAD_ARGUMENT;
  if (!TRITFORGE_GET(get(device, TRITFORGE_STATUS), STATUS_IDLE))
    return TRITFORGE_BUSY;
  put(device, TRITFORGE_PROMPT_COUNT, request->prompt_count);
  put(device, TRITFORGE_GENERATE_COUNT, request->generate_count);
  put(device, TRITFORGE_STOP_TOKEN, request->stop_token
      | TRITFORGE_SET(STOP_TOKEN_ENABLE, request->stops ? 1u : 0u));
  put(device, TRITFORGE_KV_SLOT, request->slot);
  put(device, TRITFORGE_SAMPLING, request->sampling);
  put(device, TRITFORGE_SEED, request->seed);
  put(device, TRITFORGE_CONTROL, TRITFORGE_CONTROL_START_MASK);
  return TRITFORGE_OK;
}

size_t tritforge_put(tritforge_device *device, const uint32_t *tokens, size_t count)
{
  size_t room = TRITFORGE_GET(get(device, TRITFORGE_LEVELS), LEVELS_PROMPT_SPACE);
  size_t number;
  if (room > count)
    room = count;
  for (number = 0; number < room; number++)
    put(device, TRITFORGE_PROMPT_TOKEN, tokens[number]);
  return room;
}

size_t tritforge_take(tritforge_device *device, uint32_t *tokens, size_t capacity, bool *last)
{
  size_t there = TRITFORGE_GET(get(device, TRITFORGE_LEVELS), LEVELS_GENERATED);
  size_t number;
  if (there > capacity)
    there = capacity;
  for (number = 0; number < there; number++) {
    uint32_t word = get(device, TRITFORGE_GENERATED_TOKEN);
    if (!TRITFORGE_GET(word, GENERATED_TOKEN_VALID))
      break;
    tokens[number] = TRITFORGE_GET(word, GENERATED_TOKEN_TOKEN);
    if (TRITFORGE_GET(word, GENERATED_TOKEN_LAST))
      *last = true;
  }
  return number;
}

tritforge_result tritforge_generate(tritforge_device *device, const tritforge_request *request,
                                    const uint32_t *prompt, uint32_t *tokens, size_t capacity,
                                    size_t *count, uint32_t polls)
{
  size_t sent = 0;
  uint32_t idle = 0;
  bool last = false;
  tritforge_result result;
  *count = 0;
  if (capacity < request->generate_count)
    return TRITFORGE_BAD_ARGUMENT;
  result = tritforge_start(device, request);
  if (result != TRITFORGE_OK)
    return result;
  for (;;) {
    size_t moved = 0;
    if (sent < request->prompt_count)
      moved += tritforge_put(device, prompt + sent, request->prompt_count - sent);
    sent += moved;
    if (*count < capacity) {
      size_t taken = tritforge_take(device, tokens + *count, capacity - *count, &last);
      *count += taken;
      moved += taken;
    }
    if (last)
      return tritforge_errors(device) ? TRITFORGE_FAULT : TRITFORGE_OK;
    if (moved) {
      idle = 0;
      continue;
    }
    if (tritforge_errors(device))
      return TRITFORGE_FAULT;
    if (request->generate_count == 0 && sent == request->prompt_count
        && TRITFORGE_GET(get(device, TRITFORGE_STATUS), STATUS_IDLE))
      return TRITFORGE_OK;
    if (++idle >= polls)
      return TRITFORGE_TIMEOUT;
  }
}

tritforge_result tritforge_soft_reset(tritforge_device *device, uint32_t polls)
{
  uint32_t poll;
  put(device, TRITFORGE_CONTROL, TRITFORGE_CONTROL_SOFT_RESET_MASK);
  for (poll = 0; poll < polls; poll++)
    if (TRITFORGE_GET(get(device, TRITFORGE_STATUS), STATUS_IDLE))
      return TRITFORGE_OK;
  return TRITFORGE_TIMEOUT;
}

uint32_t tritforge_errors(const tritforge_device *device)
{
  return get(device, TRITFORGE_ERRORS);
}

void tritforge_clear_errors(tritforge_device *device, uint32_t errors)
{
  put(device, TRITFORGE_ERRORS, errors);
}

const char *tritforge_error_name(uint32_t errors)
{
  size_t bit;
  for (bit = 0; bit < sizeof error_names / sizeof error_names[0]; bit++)
    if (errors >> bit & 1u)
      return error_names[bit];
  return errors ? "unknown" : "none";
}

uint64_t tritforge_counter(const tritforge_device *device, uint32_t offset)
{
  uint64_t low = get(device, offset);
  return low | (uint64_t)get(device, offset + 4) << 32;
}
