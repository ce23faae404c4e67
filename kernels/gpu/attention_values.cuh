// Weighted sums of values (kernels/attention.h): 32 positions × 128 channels at a time are staged
// as floats in shared memory, a block of 32 channels of a position by each thread, and meet all
// queries there.
#pragma once

#include "kernels/gpu/attention_block.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

// What a thread adds to: of half of the queries two neighbouring channels, of a single query one.
template <unsigned n>
struct OwnOutputs {
  static constexpr unsigned kChannels = n > 1 ? 2 : 1;
  static constexpr unsigned kQueries = n > 1 ? n / 2 : 1;
  static constexpr unsigned kThreads = kPiece / kChannels;  // of all channels

  std::uint32_t channel = 0;  // the first one, in the piece
  std::uint32_t query = 0;    // the first one
  bool present = false;       // whether the head has the channels
  float values[kQueries][kChannels];
};

// A tile of 32 positions that some queries are to add.
struct ValueTile {
  std::uint32_t head = 0;
  std::uint32_t position = 0;  // a multiple of 32
  std::uint32_t in_span = 0;   // its number
  std::uint32_t channel = 0;   // the first one of the piece
  bool in_format = false;
  std::uint32_t readers = 0;
};

HEARTH_DEVICE void stage_floats(FloatKind kind, const KvLayout& layout, const std::byte* tile,
                                std::uint32_t position, std::uint32_t channel, float* to) {
  const bool by_channel = layout.part == KvPart::kKeys;
  const std::uint32_t step = by_channel ? kKvTile : 1;
  const std::uint32_t at =
      by_channel ? channel * kKvTile + position : position * layout.dim + channel;
  for (unsigned c = 0; c < kKvBlock && channel + c < layout.dim; c += 4) {
    Float4 four;
    for (unsigned i = 0; i < 4; ++i) four.x[i] = float_at(kind, tile, at + (c + i) * step);
    *reinterpret_cast<Float4*>(to + c) = four;
  }
}

HEARTH_DEVICE void stage_codes(const std::uint32_t (&quads)[kQuads], float* to) {
  for (unsigned g = 0; g < kQuads; ++g) {
    Float4 four;
    for (unsigned i = 0; i < 4; ++i) four.x[i] = signed_byte(quads[g], i);
    *reinterpret_cast<Float4*>(to + 4 * g) = four;
  }
}

// Of keys that are values: what decode_tile() gives. d × code is exact where m is added.
HEARTH_DEVICE void stage_latents(const std::uint32_t (&quads)[kQuads], float d, bool with_minimum,
                                 float m, float* to) {
  for (unsigned g = 0; g < kQuads; ++g) {
    Float4 four;
    for (unsigned i = 0; i < 4; ++i) {
      four.x[i] = d * signed_byte(quads[g], i);
      if (with_minimum) four.x[i] = four.x[i] + m;
    }
    *reinterpret_cast<Float4*>(to + 4 * g) = four;
  }
}

// What the values of a position and block are multiplied with besides its weight, and what is
// added to them.
struct PositionScales {
  float factor = 1;
  float addend = 0;
};

HEARTH_DEVICE PositionScales stage_block(const KvLayout& layout, const std::byte* stored,
                                         std::uint32_t position, std::uint32_t block, float* to) {
  const std::uint32_t lane = position % kKvTile, within = position % layout.tile;
  const BlockPlace place = place_of(layout, stored, within - lane, block);
  const bool minimum = layout.family == KvFamily::kMinimum;
  PositionScales scales;
  scales.factor = f16_at(place.slice, within);
  if (minimum || layout.family == KvFamily::kKvarn)
    scales.addend = f16_at(place.slice + layout.of_slice.second, within);
  std::uint32_t quads[kQuads];
  load_codes(layout, place.codes, lane, quads);
  if (layout.part == KvPart::kValues) {
    stage_codes(quads, to);
    return scales;
  }
  stage_latents(quads, scales.factor, minimum, scales.addend, to);
  return {};
}

// Whether the tile adds something to all channels of a block alike.
HEARTH_DEVICE bool has_addends(const KvLayout& layout, const ValueTile& tile) {
  return tile.in_format && layout.part == KvPart::kValues &&
         (layout.family == KvFamily::kMinimum || layout.family == KvFamily::kKvarn);
}

template <unsigned n>
HEARTH_DEVICE void stage_tile(const AttendTask& task, const ValueTile& tile,
                              SharedQueries<n>& queries) {
  const KvLayout& layout = task.values.layout;
  const unsigned lane = thread_index() % kKvTile, block = thread_index() / kKvTile;
  const std::uint32_t channel = tile.channel + block * kKvBlock;
  float* const to = queries.staged + lane * kPitch + block * kKvBlock;
  PositionScales scales;
  if (channel < task.value_dim) {
    if (!tile.in_format)
      stage_floats({16, false}, layout, f16_tile(task.values, tile.head, tile.position), lane,
                   channel, to);
    else if (layout.family == KvFamily::kFloat)
      stage_floats({layout.bits, layout.bf16}, layout,
                   stored_tile(task.values, tile.head, tile.position), lane, channel, to);
    else
      scales = stage_block(layout, stored_tile(task.values, tile.head, tile.position),
                           tile.position + lane, channel / kKvBlock, to);
  }
  for (unsigned q = 0; q < n; ++q) {
    const float weight = queries.weights[q][tile.in_span * kKvTile + lane];
    queries.scaled[q][block][lane] = weight * scales.factor;
    if (!has_addends(layout, tile)) continue;
    const float sum = fold_products(weight, scales.addend);
    if (lane == 0) queries.extra[q][block] = sum;
  }
}

// Products of the staged tile with the weights, in order of positions, onto `sums`.
template <unsigned n>
HEARTH_DEVICE void add_products(const SharedQueries<n>& queries, const OwnOutputs<n>& own,
                                float (&sums)[OwnOutputs<n>::kQueries][OwnOutputs<n>::kChannels]) {
  constexpr unsigned kChannels = OwnOutputs<n>::kChannels, kTogether = 4;
  const float* const staged = queries.staged + own.channel;
  const std::uint32_t block = own.channel / kKvBlock;
  for (unsigned p = 0; p < kKvTile; p += kTogether) {
    float values[kTogether][kChannels];
    for (unsigned k = 0; k < kTogether; ++k)
      for (unsigned c = 0; c < kChannels; ++c) values[k][c] = staged[(p + k) * kPitch + c];
    for (unsigned q = 0; q < OwnOutputs<n>::kQueries; ++q) {
      const Float4 weights =
          *reinterpret_cast<const Float4*>(&queries.scaled[own.query + q][block][p]);
      for (unsigned k = 0; k < kTogether; ++k)
        for (unsigned c = 0; c < kChannels; ++c)
          sums[q][c] = fma(weights.x[k], values[k][c], sums[q][c]);
    }
  }
}

// The outputs with the staged tile.
template <unsigned n>
HEARTH_DEVICE void multiply_tile(const AttendTask& task, const ValueTile& tile,
                                 const SharedQueries<n>& queries, OwnOutputs<n>& own) {
  if (!own.present) return;
  const KvLayout& layout = task.values.layout;
  const bool kvarn = tile.in_format && layout.family == KvFamily::kKvarn;
  const bool addends = has_addends(layout, tile);
  float sums[OwnOutputs<n>::kQueries][OwnOutputs<n>::kChannels];
  for (unsigned q = 0; q < OwnOutputs<n>::kQueries; ++q)
    for (unsigned c = 0; c < OwnOutputs<n>::kChannels; ++c)
      sums[q][c] = kvarn ? 0.0f : own.values[q][c] * queries.factors[own.query + q][tile.in_span];
  add_products(queries, own, sums);

  const std::uint32_t channel = tile.channel + own.channel;
  const std::byte* others = nullptr;
  if (kvarn)
    others =
        place_of(layout, stored_tile(task.values, tile.head, tile.position), 0, channel / kKvBlock)
            .slice +
        layout.of_slice.third;
  for (unsigned q = 0; q < OwnOutputs<n>::kQueries; ++q) {
    const unsigned query = own.query + q;
    if ((tile.readers >> query & 1) == 0) continue;
    for (unsigned c = 0; c < OwnOutputs<n>::kChannels; ++c) {
      float sum = sums[q][c];
      if (addends) sum = sum + queries.extra[query][own.channel / kKvBlock];
      if (kvarn)
        sum = fma(f16_at(others, channel % layout.slice + c), sum,
                  own.values[q][c] * queries.factors[query][tile.in_span]);
      own.values[q][c] = sum;
    }
  }
}

// Adds the values of a span, whose weights are there, to the outputs of a piece of channels.
template <unsigned n>
HEARTH_DEVICE void add_span(const AttendTask& task, ValueTile tile, std::uint32_t span,
                            SharedQueries<n>& queries, OwnOutputs<n>& own) {
  for (tile.in_span = 0; tile.in_span < kSpanTiles; ++tile.in_span) {
    tile.position = span + tile.in_span * kKvTile;
    const TileReaders readers =
        readers_of(queries, task.values.layout, queries.encoded_values, tile.position);
    for (const bool in_format : {false, true}) {
      tile.in_format = in_format;
      tile.readers = in_format ? readers.in_format : readers.in_f16;
      if (tile.readers == 0) continue;
      stage_tile(task, tile, queries);
      sync_threads();
      multiply_tile(task, tile, queries, own);
      sync_threads();
    }
  }
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
