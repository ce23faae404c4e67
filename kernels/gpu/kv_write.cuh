// Rows into the cache, and tiles of f16 into their format.
#pragma once

#include "kernels/gpu/kv_codes.cuh"
#include "kernels/gpu/kv_encode_block.cuh"
#include "kernels/gpu/kv_encode_kvarn.cuh"
#include "kernels/gpu/kv_positions.cuh"
#include "kernels/gpu/kv_write.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

inline constexpr unsigned kStoreThreads = 128;

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

// Block (tile that the rows may reach, head).
HEARTH_KERNEL(kStoreThreads) store_kv_rows(StoreKvTask task) {
  const KvLayout& layout = task.to.layout;
  const std::uint32_t start = *task.position, end = start + task.rows;
  const std::uint32_t first = start / kKvTile * kKvTile + block_x() * kKvTile;
  if (first >= end) return;
  // From its first position on, all of the tile is written.
  const std::uint32_t from = first < start ? start - first : 0;
  const std::uint32_t to = first < start && end < first + kKvTile ? end - first : kKvTile;
  std::byte* const tile = layout.family == KvFamily::kFloat ? stored_tile(task.to, block_y(), first)
                                                            : f16_tile(task.to, block_y(), first);
  for (std::uint32_t i = thread_index(); i < (to - from) * layout.dim; i += block_threads()) {
    const std::uint32_t position = from + i / layout.dim, channel = i % layout.dim;
    float x = 0;
    if (first + position < end)
      x = task.x[(first + position - start) * task.stride + block_y() * layout.dim + channel];
    store_float(layout, x, float_index(layout, position, channel), tile);
  }
}

struct EncodedSlice {
  std::uint8_t codes[kKvTile * kKvSlice];  // [positions][channels]
};

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
HEARTH_DEVICE DueTiles due_tiles(const EncodeKvTask& task) {
  const KvLayout& layout = task.memory.layout;
  const std::uint32_t position = *task.position;
  DueTiles due;
  if (position > 0)
    due.begin = (encoded_before(layout, task.tail, position - 1) - layout.sink) / layout.tile;
  due.end =
      (encoded_before(layout, task.tail, position + task.rows - 1) - layout.sink) / layout.tile;
  return due;
}

inline constexpr unsigned kEncodeBlockThreads = 64;

// Block (tiles, head, slice): a thread has a position, then a lane of each block of codes.
HEARTH_KERNEL(kEncodeBlockThreads) encode_block_tiles(EncodeKvTask task) {
  HEARTH_SHARED(EncodedSlice, slice);
  const KvLayout& layout = task.memory.layout;
  const unsigned lane = thread_index();
  const DueTiles due = due_tiles(task);
  for (std::uint32_t tile = due.begin + block_x(); tile < due.end; tile += grid_x()) {
    const std::uint32_t position = layout.sink + tile * layout.tile;
    const std::byte* const from = f16_tile(task.memory, block_y(), position);
    std::byte* const to = stored_tile(task.memory, block_y(), position) +
                          std::size_t{block_z()} * layout.of_slice.bytes;
    if (lane < kKvTile) {
      const std::uint32_t channel = block_z() * layout.slice;
      std::uint8_t* const codes = slice.codes + lane * layout.slice;
      const BlockScales scales = encode_values(
          layout,
          [&](unsigned i) {
            return float_at(AsF16{}, from, float_index(layout, lane, channel + i));
          },
          [&](unsigned i, int code) { codes[i] = static_cast<std::uint8_t>(code); });
      reinterpret_cast<std::uint16_t*>(to)[lane] = scales.d;
      if (layout.family == KvFamily::kMinimum)
        reinterpret_cast<std::uint16_t*>(to + layout.of_slice.second)[lane] = scales.m;
    }
    sync_threads();
    for (std::uint32_t block = lane / kKvTile; block < layout.slice / kKvBlock;
         block += kEncodeBlockThreads / kKvTile)
      pack_slice(layout, slice.codes, block, lane % kKvTile,
                 to + layout.of_slice.codes + block * layout.planes.block_bytes());
    sync_threads();
  }
}

// Block (tiles, head, slice).
HEARTH_KERNEL(kKvarnThreads) encode_kvarn_tiles(EncodeKvTask task) {
  HEARTH_SHARED(KvarnShared, shared);
  const KvLayout& layout = task.memory.layout;
  const unsigned lane = thread_index() % kKvTile, group = thread_index() / kKvTile;
  const DueTiles due = due_tiles(task);
  for (std::uint32_t tile = due.begin + block_x(); tile < due.end; tile += grid_x()) {
    const std::uint32_t position = layout.sink + tile * layout.tile;
    std::byte* const to = stored_tile(task.memory, block_y(), position) +
                          std::size_t{block_z()} * layout.of_slice.bytes;
    KvarnSlice slice;
    slice.memory = &task.memory;
    slice.head = block_y();
    slice.position = position;
    slice.channel = block_z() * layout.slice;
    slice.channels = layout.slice;
    encode_kvarn(slice, to, shared);
    const std::uint32_t blocks = layout.slice / kKvBlock;
    for (std::uint32_t block = 0; block < blocks; ++block)
      pack_slice(
          layout, shared.codes + group * kKvTile * layout.slice, block, lane,
          to + layout.of_slice.codes + (group * blocks + block) * layout.planes.block_bytes());
    sync_threads();
  }
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
