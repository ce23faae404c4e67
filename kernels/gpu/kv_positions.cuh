// Where positions of the cache are, and in which form a row reads them (runtime/kv_cache.h).
#pragma once

#include "kernels/gpu/port.h"
#include "kernels/kv/kv_layout.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

// The row at `position` reads positions before this in the format, but for those of a sink.
HEARTH_DEVICE std::uint32_t encoded_before(const KvLayout& layout, std::uint32_t tail,
                                           std::uint32_t position) {
  if (layout.family == KvFamily::kFloat) return ~0u;
  const std::uint32_t seen = position + 1, old = seen > tail ? seen - tail : 0;
  const std::uint32_t whole = old / layout.tile * layout.tile;
  return whole > layout.sink ? whole : layout.sink;
}

HEARTH_DEVICE std::byte* stored_tile(const KvMemory& memory, std::uint32_t head,
                                     std::uint32_t position) {
  const KvLayout& layout = memory.layout;
  const std::uint32_t tile = (position - layout.sink) / layout.tile;
  return memory.tiles + (std::size_t{head} * memory.tiles_per_head + tile) * layout.tile_bytes;
}

HEARTH_DEVICE std::byte* f16_tile(const KvMemory& memory, std::uint32_t head,
                                  std::uint32_t position) {
  const std::uint32_t tile = position / kKvTile;
  if (position < memory.layout.sink)
    return memory.sink +
           (std::size_t{head} * memory.sink_tiles + tile) * memory.layout.f16_tile_bytes;
  return memory.recent + (std::size_t{head} * memory.recent_tiles + tile % memory.recent_tiles) *
                             memory.layout.f16_tile_bytes;
}

// The place of a value in a tile of floats.
HEARTH_DEVICE std::uint32_t float_index(const KvLayout& layout, std::uint32_t position,
                                        std::uint32_t channel) {
  return layout.part == KvPart::kKeys ? channel * kKvTile + position
                                      : position * layout.dim + channel;
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
