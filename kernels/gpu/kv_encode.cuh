// Tiles of f16 into their format.
#pragma once

#include "kernels/gpu/kv_codes.cuh"
#include "kernels/gpu/kv_encode.h"
#include "kernels/gpu/kv_encode_block.cuh"
#include "kernels/gpu/kv_encode_kvarn.cuh"
#include "kernels/gpu/kv_positions.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

// Codes of 32 positions in shared memory into the blocks of a slice, by the lanes of a group.
HEARTH_DEVICE void pack_slice(const KvLayout& layout, const std::uint8_t* codes,
                              std::uint32_t block, unsigned lane, std::byte* at) {
  std::uint32_t quads[kQuads];
  for (unsigned g = 0; g < kQuads; ++g) {
    quads[g] = 0;
    for (unsigned i = 0; i < 4; ++i) {
      const std::uint32_t position = layout.part == KvPart::kKeys ? lane : g + kQuads * i;
      const std::uint32_t channel = layout.part == KvPart::kKeys ? 4 * g + i : lane;
      const std::uint32_t code = codes[position * layout.slice + block * kKvBlock + channel];
      quads[g] |= code << (8 * i);
    }
  }
  store_codes(layout, quads, lane, at);
}

// The tiles that are due, of which each block of a launch takes some.
struct DueTiles {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
};
HEARTH_DEVICE DueTiles due_tiles(const EncodeKvTask& task, const KvLayout& layout) {
  const std::uint32_t position = *task.position;
  DueTiles due;
  if (position > 0)
    due.begin = (encoded_before(layout, task.tail, position - 1) - layout.sink) / layout.tile;
  due.end =
      (encoded_before(layout, task.tail, position + task.rows - 1) - layout.sink) / layout.tile;
  return due;
}

// Of each head.
constexpr std::uint32_t encoded_slices(const KvMemory& memory) {
  const KvLayout& layout = memory.layout;
  return layout.family == KvFamily::kFloat ? 0 : layout.dim / layout.slice;
}

inline constexpr unsigned kEncodeThreads = kKvarnThreads;

// 32 threads have a position each, then all a lane of a block of codes. Ends with a barrier.
HEARTH_DEVICE void encode_block_slice(const KvMemory& memory, std::uint32_t position,
                                      std::uint32_t slice, std::byte* to,
                                      std::uint8_t* shared_codes) {
  const KvLayout& layout = memory.layout;
  const unsigned lane = thread_index() % kKvTile, group = thread_index() / kKvTile;
  if (group == 0) {
    const std::byte* const from = f16_tile(memory, block_y(), position);
    const std::uint32_t channel = slice * layout.slice;
    std::uint8_t* const codes = shared_codes + lane * layout.slice;
    const BlockScales scales = encode_values(
        layout,
        [&](unsigned i) { return float_at(AsF16{}, from, float_index(layout, lane, channel + i)); },
        [&](unsigned i, int code) { codes[i] = static_cast<std::uint8_t>(code); });
    reinterpret_cast<std::uint16_t*>(to)[lane] = scales.d;
    if (layout.family == KvFamily::kMinimum)
      reinterpret_cast<std::uint16_t*>(to + layout.of_slice.second)[lane] = scales.m;
  }
  sync_threads();
  for (std::uint32_t block = group; block < layout.slice / kKvBlock;
       block += kEncodeThreads / kKvTile)
    pack_slice(layout, shared_codes, block, lane,
               to + layout.of_slice.codes + block * layout.planes.block_bytes());
  sync_threads();
}

// Four tiles at once: a group of 32 threads packs the codes of each. Ends with a barrier.
HEARTH_DEVICE void encode_kvarn_slice(const KvMemory& memory, std::uint32_t position,
                                      std::uint32_t index, std::byte* to, KvarnShared& shared) {
  const KvLayout& layout = memory.layout;
  const unsigned lane = thread_index() % kKvTile, group = thread_index() / kKvTile;
  KvarnSlice slice;
  slice.memory = &memory;
  slice.head = block_y();
  slice.position = position;
  slice.channel = index * layout.slice;
  slice.channels = layout.slice;
  encode_kvarn(slice, to, shared);
  const std::uint32_t blocks = layout.slice / kKvBlock;
  for (std::uint32_t block = 0; block < blocks; ++block)
    pack_slice(layout, shared.codes + group * kKvTile * layout.slice, block, lane,
               to + layout.of_slice.codes + (group * blocks + block) * layout.planes.block_bytes());
  sync_threads();
}

// Block (tiles, head, slice of keys, then of values).
HEARTH_KERNEL(kEncodeThreads) encode_tiles(HEARTH_ARGUMENT(EncodeKvTask) argument) {
  wait_for_previous();
  HEARTH_SHARED(KvarnShared, shared);
  const EncodeKvTask& task = in_place(argument);
  const std::uint32_t of_keys = encoded_slices(task.parts[0]);
  const bool values = block_z() >= of_keys;
  const std::uint32_t slice = values ? block_z() - of_keys : block_z();
  const KvMemory& memory = task.parts[values ? 1 : 0];
  const KvLayout& layout = memory.layout;
  const DueTiles due = due_tiles(task, layout);
  for (std::uint32_t tile = due.begin + block_x(); tile < due.end; tile += grid_x()) {
    const std::uint32_t position = layout.sink + tile * layout.tile;
    std::byte* const to =
        stored_tile(memory, block_y(), position) + std::size_t{slice} * layout.of_slice.bytes;
    if (layout.family == KvFamily::kKvarn)
      encode_kvarn_slice(memory, position, slice, to, shared);
    else
      encode_block_slice(memory, position, slice, to, shared.codes);
  }
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
