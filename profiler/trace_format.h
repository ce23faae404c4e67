// What the writer and the reader of trace files share (profiler/trace_file.h has the layout).
#pragma once

#include <xxhash.h>

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "base/units.h"
#include "profiler/routing_trace.h"

namespace hearth::profiler {

static_assert(std::endian::native == std::endian::little, "traces are copied as they lie");

inline constexpr std::string_view kTraceMagic = "HEARTHRT";
inline constexpr std::uint32_t kTraceVersion = 1;
inline constexpr Bytes kMostTraceText = kMiB;
inline constexpr std::uint32_t kStepMark = 0x50455453;  // "STEP"

inline std::uint32_t trace_checksum(std::span<const std::byte> bytes) {
  return static_cast<std::uint32_t>(XXH3_64bits(bytes.data(), bytes.size()));
}

struct TraceFileStart {
  std::array<char, 8> magic{};
  std::uint32_t version = kTraceVersion;
  std::uint32_t text_bytes = 0;
  std::uint32_t text_checksum = 0;
};
static_assert(sizeof(TraceFileStart) == 20);

struct TraceStepStart {
  std::uint32_t mark = kStepMark;
  std::uint32_t rows = 0;
  std::uint32_t position = 0;
  std::uint32_t checksum = 0;

  std::uint32_t expected_checksum() const {
    return trace_checksum(
        std::as_bytes(std::span(this, 1)).first(offsetof(TraceStepStart, checksum)));
  }
};
static_assert(sizeof(TraceStepStart) == 16);
inline constexpr std::size_t kStepFrame = sizeof(TraceStepStart) + sizeof(std::uint32_t);

inline std::uint32_t bytes_of_id(const TraceLayer& layer) { return layer.experts <= 256 ? 1 : 2; }

// Of the payload of a step; a row of the largest header has less than 2^35.
inline std::uint64_t bytes_of_row(const TraceHeader& header) {
  std::uint64_t ids = 0;
  for (const TraceLayer& layer : header.layers) ids += bytes_of_id(layer);
  const std::uint64_t weights = header.has_weights ? 2 * header.layers.size() : 0;
  return (ids + weights) * header.experts_per_row;
}

// Rounded to the nearest, ties to even.
inline std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline float from_bf16(std::uint16_t value) {
  return std::bit_cast<float>(std::uint32_t{value} << 16);
}

}  // namespace hearth::profiler
