// Keys and values on a device: the formats of kernels/kv/formats.def as numbers, so that one kernel
// reads them all, and where those of a layer lie. What is in memory is what the CPU has
// (kernels/kv/kv_format.h), byte for byte: a session may move between devices.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kv/kv_format.h"
#include "kernels/kv/rotation.h"

namespace hearth::kernels {

struct KvLayout {
  KvFamily family = KvFamily::kFloat;
  KvPart part = KvPart::kKeys;
  std::uint32_t bits = 16;  // of a code, or of a float
  bool bf16 = false;
  std::uint32_t dim = 0;
  KvPlanes planes;
  std::uint32_t offset = 0;        // of codes; 0 where they are signed
  bool has_table = false;          // what is computed with is table[code]
  std::uint32_t table[4] = {};     // 16 signed bytes
  std::uint32_t tile = kKvTile;    // positions
  std::uint32_t sink = 0;          // positions that are never encoded
  std::uint32_t slice = kKvBlock;  // channels
  KvSliceLayout of_slice;
  std::uint32_t tile_bytes = 0;
  std::uint32_t f16_tile_bytes = 0;  // of 32 positions in f16
};
KvLayout kv_layout(KvFormat format, KvPart part, std::uint32_t dim);

// The keys or the values of all heads of a layer, on a device: [heads][tiles] each. What of them is
// read in the format is said in kernels/attention.h (KvSource).
struct KvMemory {
  KvLayout layout;
  std::byte* tiles = nullptr;
  std::uint32_t tiles_per_head = 0;
  std::byte* recent = nullptr;  // null for formats that are not quantized
  std::uint32_t recent_tiles = 0;
  std::byte* sink = nullptr;  // null for formats without
  std::uint32_t sink_tiles = 0;
};

// kernels/kv/rotation.h as numbers. Where bit c is set, channel c is negated.
struct RotationLayout {
  std::uint32_t size = 1;
  bool signs = false;
  std::uint32_t before[kKvSlice / 32] = {};
  std::uint32_t after[kKvSlice / 32] = {};
};
RotationLayout rotation_layout(const KvRotation& rotation);
// The one that takes it back.
RotationLayout reversed(const RotationLayout& rotation);

}  // namespace hearth::kernels
