// The numbers of the GGUF format that reader and writer share (ggml docs/gguf.md).
//
//   "GGUF" | version u32 | tensor count u64 | key count u64
//   key count    x  key string | value type u32 | value
//   tensor count x  name string | dimensions u32 | shape u64 each | type u32 | offset u64
//   padding to the alignment, then the tensor data that the offsets count from
//
// All numbers are little-endian. A string is a u64 length and its bytes; an array is an element
// type u32, a u64 count and the elements.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

namespace hearth::io {

static_assert(std::endian::native == std::endian::little, "GGUF numbers are copied as they are");

enum class GgufType : std::uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

constexpr std::string_view kGgufMagic = "GGUF";
constexpr std::uint32_t kGgufVersion = 3;  // 2 has the same layout; 1 had 32-bit counts
constexpr std::uint64_t kGgufDefaultAlignment = 32;
constexpr std::string_view kGgufAlignmentKey = "general.alignment";
constexpr std::uint64_t kGgufMaxKeyBytes = 65535;
// The format says 64, and writers have gone a little past it.
constexpr std::uint64_t kGgufMaxTensorNameBytes = 256;
constexpr std::uint32_t kGgufMaxDimensions = 4;

constexpr bool is_gguf_alignment(std::uint64_t alignment) {
  return alignment >= 8 && std::has_single_bit(alignment);
}

}  // namespace hearth::io
