// Attention of queries over the cached keys and values of one KV head: softmax(q · K) V.
//
// The arithmetic, of each query by itself (so that a result depends on nothing but the query, the
// cache and the positions, whatever it is computed together with):
//
//   The context is cut into chunks of attention_chunk() positions. Per chunk, with maximum
//   m = -infinity, sum l = 0, output o = 0, for each tile of 32 positions from the first one that
//   is attended to (online softmax, Milakov & Gimelshein 2018):
//     s[p] = score × scale, -infinity where p is not attended to
//     m'   = the larger of m and all s,  f = exp(m - m')
//     b    = m', g = 1; but where the weights meet codes of values b = the largest s of the tile
//            (at least that of finite floats), g = exp(b - m'): these are in steps of the largest
//     w[p] = exp(s[p] - b)
//     l    = fma(fold16(w[0..15] + w[16..31]), g, l × f)
//     o    = o × f, then the products of the tile with V are added
//   Chunks are merged in order: M' = max(M, m), F = exp(M - M'), G = exp(m - M');
//     L = fma(l, G, L × F), O = fma(o, G, O × F).  The first chunk is taken as it is.
//   A sink (a logit with no value) is merged last, as a chunk with m = sink, l = 1, o = 0.
//   The result is O / L.
//
//   score, float keys:  acc = fma(q[c], k[p][c], acc) for c = 0, 1, 2, ...
//   score, block keys:  with q quantized like activations (kernels/arithmetic.h: codes, scale, sum
//     of a block of 32), for b = 0, 1, 2, ...: I = the dot product of key codes and query codes,
//     exact; acc = fma(f32(I), d[p] × scale_q, acc); with a minimum then
//     acc = fma(m[p], f32(sum_q) × scale_q, acc).
//   score, keys of KVarN:  total = 0; for each slice of channels, with the query's channels folded,
//     q'[c] = q[c] × scale[c], and quantized like activations:
//     acc = fold16 of z[i] = fma(q[c], zero[c], z[i]) for c = i, i + 16, ...; for b = 0, 1, 2, ...:
//     acc = fma(f32(I), scale_q', acc); total = fma(other[p], acc, total)
//   values, float:  o[c] = fma(w[p], v[p][c], o[c]) for the positions of the tile in order
//   values, block:  D = the largest |d| of the tile in all slices, inverse = 32767 / D (0 where
//     D < 2^-100), step = fma(D, f32(1 / 32767), 0 or, where a d is not finite, NaN) × g. For each
//     slice W[p] = round half to even of w[p] × (d[p] × inverse); I = the sum of W[p] × code, exact
//     in int32; o[c] = fma(f32(I), step, o[c]); with a minimum then
//     o[c] = o[c] + fold16(fma(w[i + 16], m[i + 16], w[i] × m[i]), i = 0..15) × g.
//   values of KVarN:  I and step likewise, with scale[p] for d[p] and code' for code; then
//     sum = fma(f32(I), step, fold16(fma(w[i + 16], zero[i + 16], w[i] × zero[i]), i = 0..15) × g),
//     and o × f is part of o[c] = fma(other[c], sum, o[c] × f).
//   Block keys and values of TurboQuant take table[code] for the code and d of the slice.
//   values that are the first channels of the keys (multi-head latent attention), all formats but
//   KVarN and TurboQuant:
//     o[c] = fma(w[p], k[p][c], o[c]) for the positions of the tile in order, with k[p][c] as
//     decode_tile() gives it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kv/kv_format.h"

namespace hearth::kernels {

inline constexpr std::uint32_t kMaxAttentionQueries = 64;
// No kernel needs a bound; it keeps what damaged metadata says from becoming scratch. The largest
// head known is a latent of 512 channels with its 64 rotated ones.
inline constexpr std::uint32_t kMaxHeadDim = 576;

// Chunks can be computed side by side, on a GPU by blocks of their own; there are at most 64 of
// them, so that what they leave needs the same memory for every context. A power of two from 256
// on, for a query that attends to so many positions.
inline constexpr std::uint32_t kMaxAttentionChunks = 64;
constexpr std::uint32_t attention_chunk(std::uint32_t positions) {
  std::uint32_t chunk = 256;
  while ((positions + chunk - 1) / chunk > kMaxAttentionChunks) chunk *= 2;
  return chunk;
}

// The keys or values of one head. Positions from traits(format).sink() on and before a query's
// `encoded` are in the format, in stored tiles counted from the sink. The others are in tiles of 32
// in f16: those of the sink in order, later ones in a ring, with position p in its tile (p / 32)
// mod recent_tiles.
struct KvSource {
  KvFormat format = KvFormat::kF16;
  const std::byte* tiles = nullptr;
  const std::byte* recent = nullptr;  // null for formats that are not quantized
  std::uint32_t recent_tiles = 0;
  const std::byte* sink = nullptr;  // null for formats without
};

// The queries of a task as they meet one stored tile of KVarN keys: memory that the kernel fills.
struct FoldedQueries {
  // Of the table of kernels (kernels/cpu_kernels.h).
  void (*quantize)(const float* x, std::uint32_t n, std::int8_t* codes, float* scales,
                   std::int16_t* sums) = nullptr;
  std::int8_t* codes = nullptr;  // [queries][key_dim (/ 32) (/ 16) (/ slice)]
  float* scales = nullptr;
  std::int16_t* sums = nullptr;
  float* zeros = nullptr;
};

// What was computed of some queries so far.
struct AttentionState {
  float* maxima = nullptr;   // [queries]
  float* sums = nullptr;     // [queries]
  float* outputs = nullptr;  // [queries][value_dim]
};

struct AttentionTask {
  std::uint32_t queries = 0;  // that share the KV head: heads of the group × rows
  std::uint32_t key_dim = 0;
  std::uint32_t value_dim = 0;    // multiples of 16, of 32 where a format is quantized
  float scale = 1;                // of the scores
  const float* values = nullptr;  // of the queries, rotated as the keys are [queries][key_dim]
  // Their quantized form [queries][key_dim (/ 32) (/ 16)]; only for block keys. KVarN keys take
  // `folded` instead.
  const std::int8_t* codes = nullptr;
  const float* scales = nullptr;
  const std::int16_t* sums = nullptr;
  FoldedQueries folded;
  // Query i attends to positions [first[i], end[i]); none of the three may decrease with i.
  const std::uint32_t* first = nullptr;
  const std::uint32_t* end = nullptr;
  // Query i reads positions before this in the format, but for the sink; a multiple of the
  // format's tile.
  const std::uint32_t* encoded_keys = nullptr;
  const std::uint32_t* encoded_values = nullptr;
  KvSource keys, value_source;
  // The values are the first value_dim channels of the keys: value_source and encoded_values are
  // not read.
  bool values_in_keys = false;
  // The chunk: multiples of 32.
  std::uint32_t chunk_begin = 0, chunk_end = 0;
};

}  // namespace hearth::kernels
