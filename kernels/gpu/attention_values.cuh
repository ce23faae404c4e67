// Weighted sums of values (kernels/attention.h), 128 channels at a time: a thread has one of them
// and adds it for all queries.
#pragma once

#include "kernels/gpu/attention_block.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

// A tile of 32 positions that some queries are to add.
struct ValueTile {
  const std::byte* at = nullptr;
  std::uint32_t position = 0;  // a multiple of 32
  std::uint32_t in_span = 0;   // its number
  std::uint32_t piece = 0;     // the first channel of the piece
  std::uint32_t readers = 0;
};

// The channel of a thread in the piece, and what it has of each query.
template <unsigned n>
struct OwnOutputs {
  std::uint32_t channel = 0;
  bool present = false;  // whether the head has the channel
  float values[n];
};

HEARTH_DEVICE bool values_coded(const KvLayout& layout) {
  return layout.part == KvPart::kValues && layout.family != KvFamily::kFloat;
}
// What of a tile of coded values is alike for all channels of a block: minima, or zeros.
HEARTH_DEVICE bool has_addends(const KvLayout& layout) {
  return layout.family == KvFamily::kMinimum || layout.family == KvFamily::kKvarn;
}

// The integer form of the weights of a span: steps and inverses. A thread has a position, a tile
// that nobody reads in the format is not touched. A collective.
template <unsigned n>
HEARTH_DEVICE void measure_scales(const AttendTask& task, std::uint32_t head, std::uint32_t span,
                                  SharedQueries<n>& queries) {
  const KvLayout& layout = task.values.layout;
  const std::uint32_t position = span + thread_index(), tile = position / kKvTile * kKvTile;
  float largest = 0;
  bool finite = true;
  if (readers_of(queries, layout, queries.encoded_values, tile).in_format != 0) {
    const std::byte* const stored = stored_tile(task.values, head, tile);
    for (std::uint32_t block = 0; block < task.value_dim / kKvBlock;
         block += layout.slice / kKvBlock) {
      const float d = f16_at(place_of(layout, stored, 0, block).slice, position % layout.tile);
      const float magnitude = float_of(bits_of(d) & 0x7fffffffu);
      largest = magnitude > largest ? magnitude : largest;
      finite = finite && bits_of(magnitude) < 0x7f800000u;
    }
  }
  const bool tile_finite = group_max<32>(finite ? 0u : 1u) == 0;
  const float most = group_max<32>(largest);
  if (thread_index() % kKvTile != 0) return;
  const float nan = float_of(0x7fc00000u);
  queries.inverses[thread_index() / kKvTile] = most < 0x1p-100f ? 0.0f : divide(32767.0f, most);
  queries.steps[thread_index() / kKvTile] = tile_finite ? fma(most, 1.0f / 32767, 0.0f) : nan;
}

// The weights of a span for the blocks of a piece, each by a group of 32 threads. A collective that
// ends with a barrier.
template <unsigned n>
HEARTH_DEVICE void code_weights(const AttendTask& task, std::uint32_t head, std::uint32_t span,
                                std::uint32_t piece, SharedQueries<n>& queries) {
  const KvLayout& layout = task.values.layout;
  const unsigned lane = thread_index() % kKvTile, block = thread_index() / kKvTile;
  const std::uint32_t channel = piece + block * kKvBlock;
  for (unsigned tile = 0; tile < kSpanTiles; ++tile) {
    const std::uint32_t position = span + tile * kKvTile;
    if (readers_of(queries, layout, queries.encoded_values, position).in_format == 0) continue;
    float factor = 0, addend = 0;
    if (channel < task.value_dim) {
      const std::uint32_t within = (position + lane) % layout.tile;
      const std::byte* const slice =
          place_of(layout, stored_tile(task.values, head, position), 0, channel / kKvBlock).slice;
      factor = f16_at(slice, within);
      if (has_addends(layout)) addend = f16_at(slice + layout.of_slice.second, within);
    }
    factor = factor * queries.inverses[tile];
    for (unsigned q = 0; q < n; ++q) {
      const float weight = queries.weights[q][tile * kKvTile + lane];
      const float scaled = weight * factor;
      // Within 16 bits, but where a NaN is in the step or in the sum of weights.
      const int code = scaled >= -32767.5f && scaled <= 32767.5f ? nearest_even(scaled) : 0;
      CodedWeights& coded = queries.coded[q][tile][block];
      const unsigned place = lane % kQuads * 4 + lane / kQuads;
      coded.high[place] = static_cast<std::int8_t>(code >> 8);
      coded.low[place] = static_cast<std::int8_t>((code & 255) - 128);
      if (!has_addends(layout)) continue;
      const float sum = fold_products(weight, addend) * queries.gains[q][tile];
      if (lane == 0) queries.addends[q][tile][block] = sum;
    }
  }
  sync_threads();
}

// Outputs of the readers: `value(p)` at the positions of the tile, in order. All threads call it,
// for those without a channel `value` gives what can be read.
template <unsigned n, typename Value>
HEARTH_DEVICE void add_floats(const ValueTile& tile, const SharedQueries<n>& queries,
                              OwnOutputs<n>& own, Value value) {
  constexpr unsigned kTogether = 32;
  float sums[n];
  for (unsigned q = 0; q < n; ++q) sums[q] = own.values[q] * queries.factors[q][tile.in_span];
  for (unsigned p = 0; p < kKvTile; p += kTogether) {
    float values[kTogether];
    for (unsigned k = 0; k < kTogether; ++k) values[k] = value(p + k);
    after_loads();
    for (unsigned q = 0; q < n; ++q) {
      const auto* four = aligned<Float4>(&queries.weights[q][tile.in_span * kKvTile + p]);
      for (unsigned k = 0; k < kTogether; ++k)
        sums[q] = fma(four[k / 4].x[k % 4], values[k], sums[q]);
    }
  }
  for (unsigned q = 0; q < n; ++q)
    if ((tile.readers >> q & 1) != 0) own.values[q] = sums[q];
}

// The exact sum of 32 codes times the weights that belong to them.
HEARTH_DEVICE int weighted_codes(const std::uint32_t (&quads)[kQuads], int of_codes,
                                 const CodedWeights& weights) {
  const auto* const high = aligned<Word4>(weights.high);
  const auto* const low = aligned<Word4>(weights.low);
  int highs = 0, lows = 128 * of_codes;
  for (unsigned g = 0; g < kQuads; ++g) {
    highs = dot4(quads[g], high[g / 4].word[g % 4], highs);
    lows = dot4(quads[g], low[g / 4].word[g % 4], lows);
  }
  return 256 * highs + lows;
}

template <unsigned n>
HEARTH_DEVICE void add_codes(const AttendTask& task, const ValueTile& tile,
                             const SharedQueries<n>& queries, OwnOutputs<n>& own) {
  const KvLayout& layout = task.values.layout;
  const std::uint32_t channel = tile.piece + own.channel, block = own.channel / kKvBlock;
  const BlockPlace place =
      place_of(layout, tile.at, tile.position % layout.tile, channel / kKvBlock);
  std::uint32_t quads[kQuads];
  load_codes(layout, place.codes, channel % kKvBlock, quads);
  int of_codes = 0;
  for (const std::uint32_t quad : quads) of_codes = dot4(quad, 0x01010101u, of_codes);
  float other = 0;
  if (layout.family == KvFamily::kKvarn)
    other = f16_at(place.slice + layout.of_slice.third, channel % layout.slice);
  for (unsigned q = 0; q < n; ++q) {
    const int sum = weighted_codes(quads, of_codes, queries.coded[q][tile.in_span][block]);
    const float exact = static_cast<float>(sum);
    const float step = queries.steps[tile.in_span] * queries.gains[q][tile.in_span];
    const float kept = own.values[q] * queries.factors[q][tile.in_span];
    float output;
    if (layout.family == KvFamily::kKvarn)
      output = fma(other, fma(exact, step, queries.addends[q][tile.in_span][block]), kept);
    else if (layout.family == KvFamily::kMinimum)
      output = fma(exact, step, kept) + queries.addends[q][tile.in_span][block];
    else
      output = fma(exact, step, kept);
    if ((tile.readers >> q & 1) != 0) own.values[q] = output;
  }
}

// Keys that are values as floats, a block of a position by each thread: what decode_tile() gives.
// d × code is exact where m is added.
HEARTH_DEVICE void decode_latents(const KvLayout& layout, const ValueTile& tile, bool in_format,
                                  float* latents) {
  const unsigned lane = thread_index() % kKvTile, block = thread_index() / kKvTile;
  const std::uint32_t channel = tile.piece + block * kKvBlock;
  float* const to = latents + lane * kPitch + block * kKvBlock;
  if (channel >= layout.dim) return;
  if (!in_format || layout.family == KvFamily::kFloat) {
    with_kind(layout, in_format, [&](auto kind) {
      for (unsigned c = 0; c < kKvBlock && channel + c < layout.dim; ++c)
        to[c] = float_at(kind, tile.at, (channel + c) * kKvTile + lane);
    });
    return;
  }
  const BlockPlace place = place_of(layout, tile.at, 0, channel / kKvBlock);
  const bool minimum = layout.family == KvFamily::kMinimum;
  const float d = f16_at(place.slice, lane);
  const float m = minimum ? f16_at(place.slice + layout.of_slice.second, lane) : 0;
  std::uint32_t quads[kQuads];
  load_codes(layout, place.codes, lane, quads);
  for (unsigned g = 0; g < kQuads; ++g) {
    Float4 four;
    for (unsigned i = 0; i < 4; ++i) {
      four.x[i] = d * signed_byte(quads[g], i);
      if (minimum) four.x[i] = four.x[i] + m;
    }
    *aligned<Float4>(to + 4 * g) = four;
  }
}

// Some of the block's queries read the tile in the format, some in f16.
template <unsigned n>
HEARTH_DEVICE void add_tile(const AttendTask& task, const ValueTile& tile, bool in_format,
                            SharedQueries<n>& queries, OwnOutputs<n>& own) {
  const KvLayout& layout = task.values.layout;
  if (layout.part == KvPart::kKeys) {
    sync_threads();
    decode_latents(layout, tile, in_format, queries.latents);
    sync_threads();
    add_floats(tile, queries, own,
               [&](unsigned p) { return queries.latents[p * kPitch + own.channel]; });
  } else if (in_format && layout.family != KvFamily::kFloat) {
    if (own.present) add_codes(task, tile, queries, own);
  } else {
    const std::uint32_t channel = tile.piece + (own.present ? own.channel : 0);
    with_kind(layout, in_format, [&](auto kind) {
      add_floats(tile, queries, own,
                 [&](unsigned p) { return float_at(kind, tile.at, p * layout.dim + channel); });
    });
  }
}

// Adds the values of a span, whose weights are there, to the outputs of a piece of channels.
template <unsigned n>
HEARTH_DEVICE void add_span(const AttendTask& task, std::uint32_t head, std::uint32_t span,
                            std::uint32_t piece, SharedQueries<n>& queries, OwnOutputs<n>& own) {
  ValueTile tile;
  tile.piece = piece;
  if (values_coded(task.values.layout)) code_weights(task, head, span, piece, queries);
  for (tile.in_span = 0; tile.in_span < kSpanTiles; ++tile.in_span) {
    tile.position = span + tile.in_span * kKvTile;
    const TileReaders readers =
        readers_of(queries, task.values.layout, queries.encoded_values, tile.position);
    if (readers.in_f16 != 0) {
      tile.readers = readers.in_f16;
      tile.at = f16_tile(task.values, head, tile.position);
      add_tile(task, tile, false, queries, own);
    }
    if (readers.in_format != 0) {
      tile.readers = readers.in_format;
      tile.at = stored_tile(task.values, head, tile.position);
      add_tile(task, tile, true, queries, own);
    }
  }
  sync_threads();
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
