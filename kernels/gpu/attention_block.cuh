// What the threads of a block of attention share: queries, and the weights of a span of positions.
#pragma once

#include "kernels/gpu/attention.h"
#include "kernels/gpu/kv_codes.cuh"
#include "kernels/gpu/kv_positions.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

inline constexpr unsigned kAttendThreads = 128;
inline constexpr unsigned kSpan = kAttendThreads;  // positions: one for each thread
inline constexpr unsigned kSpanTiles = kSpan / kKvTile;
static_assert(kSpan == kKvLongestTile);
inline constexpr unsigned kPiece = kAttendThreads;  // channels of values: one for each thread
inline constexpr unsigned kPieceBlocks = kPiece / kKvBlock;
// Of a row of a tile of latents: 16-byte stores of 8 neighbouring positions meet all banks.
inline constexpr unsigned kPitch = kPiece + 4;

// The weights of a tile for a block of coded channels as integers, 256 × high + low + 128, in the
// order of quads.
struct CodedWeights {
  std::int8_t high[kKvTile], low[kKvTile];
};

// Of `n` queries that share a KV head.
template <unsigned n>
struct SharedQueries {
  std::uint32_t first[n], end[n];  // positions it attends to; none where it takes no part
  std::uint32_t encoded_keys[n], encoded_values[n];
  float maxima[n], sums[n];
  float tile_maxima[n][kSpanTiles], tile_sums[n][kSpanTiles];
  float factors[n][kSpanTiles];  // of the outputs before a tile
  float gains[n][kSpanTiles];    // of the weights of a tile
  float inverses[kSpanTiles];    // of the steps of coded weights
  float steps[kSpanTiles];
  float addends[n][kSpanTiles][kPieceBlocks];  // what a tile adds to all channels of a block
  alignas(16) float weights[n][kSpan];         // scores, then weights
  union {
    alignas(16) CodedWeights coded[n][kSpanTiles][kPieceBlocks];  // of a piece
    alignas(16) float latents[kKvTile * kPitch];                  // a tile of a piece
  };
};

// What depends on the size of the heads, in dynamic shared memory: queries as floats
// [n][key_dim], and for quantized keys as codes, with scales and sums of blocks, and sums of slices
// of the products with the zeros of KVarN.
struct QueryForms {
  float* values;
  std::int8_t* codes;
  float* scales;
  float* zeros;
  int* sums;
};
constexpr std::uint32_t query_form_bytes(std::uint32_t n, std::uint32_t key_dim, bool quantized) {
  return n * key_dim * 4 + (quantized ? n * key_dim + 3 * n * (key_dim / kKvBlock) * 4 : 0);
}
HEARTH_DEVICE QueryForms query_forms(float* memory, std::uint32_t n, std::uint32_t key_dim) {
  const std::uint32_t blocks = n * (key_dim / kKvBlock);
  QueryForms forms{};
  forms.values = memory;
  forms.codes = reinterpret_cast<std::int8_t*>(memory + n * key_dim);
  forms.scales = reinterpret_cast<float*>(forms.codes + n * key_dim);
  forms.zeros = forms.scales + blocks;
  forms.sums = reinterpret_cast<int*>(forms.zeros + blocks);
  return forms;
}

// Which of the queries read the tile of 32 positions in the format, and which in f16.
struct TileReaders {
  std::uint32_t in_format = 0;
  std::uint32_t in_f16 = 0;
};
template <unsigned n>
HEARTH_DEVICE TileReaders readers_of(const SharedQueries<n>& queries, const KvLayout& layout,
                                     const std::uint32_t (&encoded)[n], std::uint32_t position) {
  TileReaders readers;
  for (unsigned q = 0; q < n; ++q) {
    if (queries.end[q] <= position || queries.first[q] >= position + kKvTile) continue;
    if (position >= layout.sink && encoded[q] > position)
      readers.in_format |= 1u << q;
    else
      readers.in_f16 |= 1u << q;
  }
  return readers;
}

// The order of fold16 (kernels/arithmetic.h) for a group of 32 lanes, of which lane i has two
// factors of the product i: their products from 16 on are fused into those before.
HEARTH_DEVICE float fold_products(float a, float b) {
  const float later_a = shuffle_xor(a, 16), later_b = shuffle_xor(b, 16);
  return group_sum<16>(fma(later_a, later_b, a * b));
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
