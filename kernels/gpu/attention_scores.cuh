// Scores of a span of positions, one for each thread (kernels/attention.h).
#pragma once

#include "kernels/gpu/attention_block.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

// One value of 32 to each lane of a group: kernels/arithmetic.h.
HEARTH_DEVICE void quantize_block(float x, bool store, std::int8_t* codes, float* scale, int* sum) {
  const std::uint32_t largest = group_max<32>(bits_of(x) & 0x7fffffffu);
  float step = divide(float_of(largest), 127.0f);
  if (largest >= 0x7f800000u) step = float_of(0x7fc00000u);
  if (step < 0x1p-126f) step = 0;
  const int code = step > 0 ? nearest_even(divide(x, step)) : 0;  // 0 also where it is NaN
  const int total = group_sum<32>(code);
  const unsigned lane = thread_index() % 32;
  if (store) codes[lane] = static_cast<std::int8_t>(code);
  if (!store || lane != 0) return;
  *scale = step;
  *sum = total;
}

// body(query, block, takes part) for all blocks of all queries, one for each 32 threads at a time;
// it is called by all of them, since it may hold collectives.
template <typename Body>
HEARTH_DEVICE void for_query_blocks(std::uint32_t n, std::uint32_t key_dim, Body body) {
  const std::uint32_t blocks = key_dim / kKvBlock;
  for (std::uint32_t begin = 0; begin < n * blocks; begin += kSpanTiles) {
    const std::uint32_t item = begin + thread_index() / 32;
    const bool valid = item < n * blocks;
    body(valid ? item / blocks : 0, valid ? item % blocks : 0, valid);
  }
}

template <unsigned n>
HEARTH_DEVICE void quantize_queries(std::uint32_t key_dim, const QueryForms& forms) {
  for_query_blocks(n, key_dim, [&](std::uint32_t q, std::uint32_t b, bool valid) {
    const std::uint32_t at = q * key_dim + b * kKvBlock, block = at / kKvBlock;
    quantize_block(forms.values[at + thread_index() % 32], valid, forms.codes + at,
                   forms.scales + block, forms.sums + block);
  });
}

// Queries as they meet a stored tile of KVarN keys.
template <unsigned n>
HEARTH_DEVICE void fold_queries(const KvLayout& layout, const std::byte* tile,
                                const QueryForms& forms) {
  const unsigned lane = thread_index() % 32;
  for_query_blocks(n, layout.dim, [&](std::uint32_t q, std::uint32_t b, bool valid) {
    const std::uint32_t at = q * layout.dim + b * kKvBlock, block = at / kKvBlock;
    const BlockPlace place = place_of(layout, tile, 0, b);
    const std::uint32_t within = b * kKvBlock % layout.slice + lane;
    quantize_block(forms.values[at + lane] * f16_at(place.slice, within), valid, forms.codes + at,
                   forms.scales + block, forms.sums + block);
    // The sum of a slice is with its first block.
    float zero = 0;
    if (b * kKvBlock % layout.slice == 0)
      for (std::uint32_t c = lane % 16; c < layout.slice; c += 16)
        zero = fma(forms.values[at + c], f16_at(place.slice + layout.of_slice.second, c), zero);
    zero = group_sum<16>(zero);
    if (valid && lane == 0) forms.zeros[block] = zero;
  });
}

// Channels of keys that are loaded one after the other: heads have a multiple of as many.
inline constexpr unsigned kChannels = 16;

template <unsigned n>
HEARTH_DEVICE void add_channels(const float (&keys)[kChannels], const float* queries,
                                std::uint32_t key_dim, float (&scores)[n]) {
  for (unsigned q = 0; q < n; ++q) {
    const auto* four = aligned<Float4>(queries + q * key_dim);
    for (unsigned i = 0; i < kChannels; ++i)
      scores[q] = fma(four[i / 4].x[i % 4], keys[i], scores[q]);
  }
}

template <unsigned n, typename Kind>
HEARTH_DEVICE void score_floats(Kind kind, std::uint32_t key_dim, const std::byte* tile,
                                std::uint32_t position, const QueryForms& forms,
                                float (&scores)[n]) {
  for (float& score : scores) score = 0;
  for (std::uint32_t c = 0; c < key_dim; c += 2 * kChannels) {
    const bool both = c + kChannels < key_dim;
    const std::uint32_t next = both ? c + kChannels : c;
    float keys[kChannels], next_keys[kChannels];
    for (unsigned i = 0; i < kChannels; ++i)
      keys[i] = float_at(kind, tile, (c + i) * kKvTile + position);
    for (unsigned i = 0; i < kChannels; ++i)
      next_keys[i] = float_at(kind, tile, (next + i) * kKvTile + position);
    after_loads();
    add_channels(keys, forms.values + c, key_dim, scores);
    if (both) add_channels(next_keys, forms.values + next, key_dim, scores);
  }
}

// The exact products of a block of key codes with those of the queries.
template <unsigned n>
HEARTH_DEVICE void dot_codes(const std::uint32_t (&quads)[kQuads], const std::int8_t* codes,
                             std::uint32_t key_dim, int (&dots)[n]) {
  for (unsigned q = 0; q < n; ++q) {
    const auto* four = aligned<Word4>(codes + q * key_dim);
    dots[q] = 0;
    for (unsigned g = 0; g < kQuads; ++g)
      dots[q] = dot4(quads[g], four[g / 4].word[g % 4], dots[q]);
  }
}

template <unsigned n>
HEARTH_DEVICE void score_blocks(const KvLayout& layout, const std::byte* tile,
                                std::uint32_t position, const QueryForms& forms,
                                float (&scores)[n]) {
  const std::uint32_t blocks = layout.dim / kKvBlock;
  for (float& score : scores) score = 0;
  for (std::uint32_t b = 0; b < blocks; ++b) {
    const BlockPlace place = place_of(layout, tile, 0, b);
    std::uint32_t quads[kQuads];
    load_codes(layout, place.codes, position, quads);
    int dots[n];
    dot_codes(quads, forms.codes + b * kKvBlock, layout.dim, dots);
    const float d = f16_at(place.slice, position);
    for (unsigned q = 0; q < n; ++q)
      scores[q] = fma(static_cast<float>(dots[q]), d * forms.scales[q * blocks + b], scores[q]);
    if (layout.family != KvFamily::kMinimum) continue;
    const float m = f16_at(place.slice + layout.of_slice.second, position);
    for (unsigned q = 0; q < n; ++q) {
      const std::uint32_t block = q * blocks + b;
      scores[q] = fma(m, static_cast<float>(forms.sums[block]) * forms.scales[block], scores[q]);
    }
  }
}

// `position` counts in the stored tile of 128.
template <unsigned n>
HEARTH_DEVICE void score_kvarn(const KvLayout& layout, const std::byte* tile,
                               std::uint32_t position, const QueryForms& forms,
                               float (&scores)[n]) {
  const std::uint32_t blocks = layout.dim / kKvBlock, of_slice = layout.slice / kKvBlock;
  for (float& score : scores) score = 0;
  for (std::uint32_t first = 0; first < blocks; first += of_slice) {
    float sums[n];
    for (unsigned q = 0; q < n; ++q) sums[q] = forms.zeros[q * blocks + first];
    for (std::uint32_t b = first; b < first + of_slice; ++b) {
      std::uint32_t quads[kQuads];
      load_codes(layout, place_of(layout, tile, position, b).codes, position % kKvTile, quads);
      int dots[n];
      dot_codes(quads, forms.codes + b * kKvBlock, layout.dim, dots);
      for (unsigned q = 0; q < n; ++q)
        sums[q] = fma(static_cast<float>(dots[q]), forms.scales[q * blocks + b], sums[q]);
    }
    const float other =
        f16_at(place_of(layout, tile, 0, first).slice + layout.of_slice.third, position);
    for (unsigned q = 0; q < n; ++q) scores[q] = fma(other, sums[q], scores[q]);
  }
}

// Of this thread's position, -infinity where a query does not attend to it. A query that does not
// attend to the tile has any value.
template <unsigned n>
HEARTH_DEVICE void score_position(const AttendTask& task, std::uint32_t head,
                                  std::uint32_t position, const SharedQueries<n>& queries,
                                  const QueryForms& forms, float (&scores)[n]) {
  const KvLayout& layout = task.keys.layout;
  const std::uint32_t tile = position / kKvTile * kKvTile, within = position % kKvTile;
  const TileReaders readers = readers_of(queries, layout, queries.encoded_keys, tile);
  float found[n];
  for (unsigned q = 0; q < n; ++q) scores[q] = found[q] = 0;
  if (readers.in_f16 != 0)
    score_floats(AsF16{}, layout.dim, f16_tile(task.keys, head, tile), within, forms, scores);
  if (readers.in_format != 0) {
    const std::byte* const stored = stored_tile(task.keys, head, tile);
    if (layout.family == KvFamily::kFloat)
      with_kind(layout, true,
                [&](auto kind) { score_floats(kind, layout.dim, stored, within, forms, found); });
    else if (layout.family == KvFamily::kKvarn)
      score_kvarn(layout, stored, position % layout.tile, forms, found);
    else
      score_blocks(layout, stored, within, forms, found);
  }
  for (unsigned q = 0; q < n; ++q) {
    const float score = (readers.in_format >> q & 1) != 0 ? found[q] : scores[q];
    const bool attended = queries.first[q] <= position && position < queries.end[q];
    scores[q] = attended ? score * task.scale : float_of(0xff800000u);
  }
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
