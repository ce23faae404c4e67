// A row of a head into the cache of a layer, byte for byte as the CPU stores it.
#pragma once

#include "kernels/gpu/kv_positions.cuh"
#include "kernels/gpu/port.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

HEARTH_DEVICE std::uint16_t bf16_of_f32(float x) {
  const std::uint32_t bits = bits_of(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

HEARTH_DEVICE void store_float(const KvLayout& layout, float x, std::uint32_t index,
                               std::byte* tile) {
  if (layout.family != KvFamily::kFloat)
    reinterpret_cast<std::uint16_t*>(tile)[index] = f16_of_f32(x);
  else if (layout.bits == 32)
    reinterpret_cast<float*>(tile)[index] = x;
  else
    reinterpret_cast<std::uint16_t*>(tile)[index] = layout.bf16 ? bf16_of_f32(x) : f16_of_f32(x);
}

// By a block of threads. The row goes to the tile of its position: in the format where it is one of
// floats, else in f16 to the ring or the sink. The first row of a tile makes zeros of what lies
// behind the last row of the step, which ends before position `end`.
HEARTH_DEVICE void store_head(const KvMemory& to, std::uint32_t head, std::uint32_t position,
                              std::uint32_t end, const float* values) {
  const KvLayout& layout = to.layout;
  std::byte* const tile = layout.family == KvFamily::kFloat ? stored_tile(to, head, position)
                                                            : f16_tile(to, head, position);
  const std::uint32_t own = position % kKvTile;
  for (std::uint32_t c = thread_index(); c < layout.dim; c += block_threads())
    store_float(layout, values[c], float_index(layout, own, c), tile);
  if (own != 0 || end - position >= kKvTile) return;
  const std::uint32_t stored = end - position, missing = kKvTile - stored;
  for (std::uint32_t i = thread_index(); i < missing * layout.dim; i += block_threads())
    store_float(layout, 0, float_index(layout, stored + i % missing, i / missing), tile);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
