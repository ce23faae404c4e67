// Attention over tiles of the cache (kernels/attention.h), for all formats and instruction sets.
//
// 32 positions meet all queries of the task while they are in the caches. Which functions read them
// is looked up once, by the formats of keys and of values: every pair is on the same path.
#pragma once

#include <span>

#include "kernels/cpu/exp.h"
#include "kernels/cpu/kv/blocks.h"
#include "kernels/cpu/kv/floats.h"
#include "kernels/cpu/kv/kvarn.h"
#include "kernels/cpu/kv/latent.h"
#include "kernels/cpu_kernels.h"

namespace hearth::kernels {

template <typename Lanes>
struct KvFunctions {
  ScoreTile score[kKvFormatCount];
  AddTile add[kKvFormatCount];
  FoldQueries fold[kKvFormatCount];  // null where queries are the same for all tiles
  // Of a tile of keys, of which the values are a part; null where the format holds no latents.
  AddTile add_keys[kKvFormatCount];
};

template <typename Lanes, typename Quads, KvFormat format>
constexpr void set_functions(KvFunctions<Lanes>& table) {
  constexpr auto kAt = static_cast<std::size_t>(format);
  if constexpr (!traits(format).quantized()) {
    table.score[kAt] = FloatTiles<Lanes, format>::score;
    table.add[kAt] = FloatTiles<Lanes, format>::add;
    table.add_keys[kAt] = LatentTiles<Lanes, FloatTiles<Lanes, format>>::add;
  } else if constexpr (traits(format).family == KvFamily::kKvarn) {
    table.score[kAt] = KvarnTiles<Lanes, Quads, format>::score;
    table.add[kAt] = KvarnTiles<Lanes, Quads, format>::add;
    table.fold[kAt] = KvarnTiles<Lanes, Quads, format>::fold;
  } else {
    table.score[kAt] = BlockTiles<Lanes, Quads, format>::score;
    table.add[kAt] = BlockTiles<Lanes, Quads, format>::add;
    if constexpr (traits(format).holds_latents())
      table.add_keys[kAt] = LatentTiles<Lanes, BlockTiles<Lanes, Quads, format>>::add;
  }
}

template <typename Lanes, typename Quads>
constexpr KvFunctions<Lanes> kv_functions() {
  KvFunctions<Lanes> table{};
#define KV_FORMAT(Name, text, family, bits) set_functions<Lanes, Quads, KvFormat::k##Name>(table);
#include "kernels/kv/formats.def"
#undef KV_FORMAT
  return table;
}

// One chunk. The tile's scores and factors lie on the stack: 8.5 KiB.
template <typename Lanes, typename Quads>
class Attention {
 public:
  Attention(const AttentionTask& task, const AttentionState& state) : task_(task), state_(state) {}

  void run() {
    for (std::uint32_t i = 0; i < task_.queries; ++i) {
      state_.maxima[i] = -__builtin_inff();
      state_.sums[i] = 0;
    }
    fill_zero(state_.outputs, std::size_t{task_.queries} * task_.value_dim);
    const std::uint32_t from = task_.first[0] / kKvTile * kKvTile;
    const std::uint32_t last = task_.end[task_.queries - 1];
    const std::uint32_t end = last < task_.chunk_end ? last : task_.chunk_end;
    for (std::uint32_t p = from > task_.chunk_begin ? from : task_.chunk_begin; p < end;
         p += kKvTile)
      tile(p);
  }

 private:
  // Queries [begin, end) see something of the tile: those before it are at the front, those whose
  // window has passed it at the back.
  void tile(std::uint32_t position) {
    std::uint32_t begin = 0, end = task_.queries;
    while (begin < end && task_.end[begin] <= position) ++begin;
    while (end > begin && task_.first[end - 1] >= position + kKvTile) --end;
    if (begin == end) return;
    score(position, begin, end);
    weigh(position, begin, end);
    add(position, begin, end);
  }

  // Of queries that do not read the same positions in the format, the later ones read more so.
  static std::uint32_t first_encoded(KvFormat format, const std::uint32_t* encoded,
                                     std::uint32_t position, std::uint32_t begin,
                                     std::uint32_t end) {
    if (position < traits(format).sink()) return end;
    while (begin < end && encoded[begin] <= position) ++begin;
    return begin;
  }

  static const std::byte* f16_tile(const KvSource& source, KvPart part, std::uint32_t dim,
                                   std::uint32_t position) {
    const std::uint64_t bytes = kv_tile_bytes(KvFormat::kF16, part, dim);
    const std::uint32_t tile = position / kKvTile;
    return position < traits(source.format).sink()
               ? source.sink + tile * bytes
               : source.recent + tile % source.recent_tiles * bytes;
  }
  static const std::byte* stored_tile(const KvSource& source, KvPart part, std::uint32_t dim,
                                      std::uint32_t position) {
    const KvFormatTraits& row = traits(source.format);
    return source.tiles +
           (position - row.sink()) / row.tile() * kv_tile_bytes(source.format, part, dim);
  }

  // The stored tile of values there; nothing where they are a part of the keys, or of the sink.
  std::span<const std::byte> values_at(std::uint32_t position) const {
    const KvSource& values = task_.value_source;
    if (task_.values_in_keys || position < traits(values.format).sink()) return {};
    return {stored_tile(values, KvPart::kValues, task_.value_dim, position),
            kv_tile_bytes(values.format, KvPart::kValues, task_.value_dim)};
  }

  void score(std::uint32_t position, std::uint32_t begin, std::uint32_t end) {
    const KvSource& keys = task_.keys;
    const std::uint32_t dim = task_.key_dim;
    const std::uint32_t split =
        first_encoded(keys.format, task_.encoded_keys, position, begin, end);
    if (begin < split)
      score_with(KvFormat::kF16, f16_tile(keys, KvPart::kKeys, dim, position), 0, begin, split);
    if (split == end) return;
    const std::byte* const tile = stored_tile(keys, KvPart::kKeys, dim, position);
    fold(tile, position);
    score_with(keys.format, tile, position % traits(keys.format).tile(), split, end);
  }

  // Once for each stored tile, all queries that read something of it.
  void fold(const std::byte* tile, std::uint32_t position) {
    const FoldQueries fold_queries = kFunctions.fold[static_cast<std::size_t>(task_.keys.format)];
    if (fold_queries == nullptr || tile == folded_) return;
    folded_ = tile;
    const std::uint32_t tile_end =
        position - position % traits(task_.keys.format).tile() + traits(task_.keys.format).tile();
    std::uint32_t end = task_.queries;
    while (task_.first[end - 1] >= tile_end) --end;
    fold_queries(tile, task_,
                 first_encoded(task_.keys.format, task_.encoded_keys, position, 0, end), end);
  }

  template <typename T>
  static const T* at(const T* from, std::size_t n) {
    return from == nullptr ? nullptr : from + n;
  }

  void score_with(KvFormat format, const std::byte* tile, std::uint32_t position,
                  std::uint32_t begin, std::uint32_t end) {
    const std::size_t dim = task_.key_dim;
    const bool folded = kFunctions.fold[static_cast<std::size_t>(format)] != nullptr;
    const FoldedQueries& own = task_.folded;
    const TileQueries queries{
        .count = end - begin,
        .dim = task_.key_dim,
        .position = position,
        .scale = task_.scale,
        .values = task_.values + begin * dim,
        .codes = at(folded ? own.codes : task_.codes, begin * dim),
        .scales = at(folded ? own.scales : task_.scales, begin * (dim / kKvBlock)),
        .sums = at(folded ? own.sums : task_.sums, begin * (dim / 16)),
        .zeros = at(own.zeros, begin * (dim / traits(format).slice(task_.key_dim))),
    };
    kFunctions.score[static_cast<std::size_t>(format)](tile, queries, scores_[begin]);
  }

  // Makes the scores weights, and brings maxima and sums of the queries up to date: what each query
  // has one of, for 16 queries at once. No part of the cache is read here, so some lines of values
  // are asked for meanwhile: of q8_0 a core then gets 12.1 GB/s from memory rather than 11.4.
  void weigh(std::uint32_t position, std::uint32_t begin, std::uint32_t end) {
    const std::span<const std::byte> values = values_at(position);
    std::size_t asked = 0;
    float of_tile[kMaxAttentionQueries];  // the largest scores, then the sums of weights
    for (std::uint32_t i = begin; i < end; ++i) {
      hide(position, i);
      of_tile[i] = larger(half(i, 0), half(i, 1)).largest();
    }
    for_lanes(end - begin, [&](std::size_t i, auto lanes) {
      const Lanes before = Lanes::load(state_.maxima + begin + i, lanes);
      const Lanes maximum = larger(before, Lanes::load(of_tile + begin + i, lanes));
      maximum.store(state_.maxima + begin + i, lanes);
      exponential(before - maximum).store(factors_ + begin + i, lanes);
    });
    for (std::uint32_t i = begin; i < end; ++i) {
      for (int lines = 0; lines < 2 && asked < values.size(); ++lines, asked += kLineBytes)
        prefetch_ahead(values.data() + asked, values.size());
      const Lanes maximum = Lanes::broadcast(state_.maxima[i]);
      const Lanes low = exponential(half(i, 0) - maximum);
      const Lanes high = exponential(half(i, 1) - maximum);
      low.store(scores_[i], Whole{});
      high.store(scores_[i] + kLanes, Whole{});
      of_tile[i] = (low + high).sum();
    }
    for_lanes(end - begin, [&](std::size_t i, auto lanes) {
      const Lanes kept =
          Lanes::load(state_.sums + begin + i, lanes) * Lanes::load(factors_ + begin + i, lanes);
      (kept + Lanes::load(of_tile + begin + i, lanes)).store(state_.sums + begin + i, lanes);
    });
  }
  Lanes half(std::uint32_t i, std::uint32_t half) const {
    return Lanes::load(scores_[i] + half * kLanes, Whole{});
  }
  // Positions that the query does not attend to.
  void hide(std::uint32_t position, std::uint32_t i) {
    if (task_.first[i] <= position && position + kKvTile <= task_.end[i]) return;
    for (std::uint32_t p = 0; p < kKvTile; ++p)
      if (position + p < task_.first[i] || position + p >= task_.end[i])
        scores_[i][p] = -__builtin_inff();
  }

  // Values that are a part of the keys are read from the keys' tiles.
  void add(std::uint32_t position, std::uint32_t begin, std::uint32_t end) {
    const bool shared = task_.values_in_keys;
    const KvPart part = shared ? KvPart::kKeys : KvPart::kValues;
    const KvSource& values = shared ? task_.keys : task_.value_source;
    const std::uint32_t* const encoded = shared ? task_.encoded_keys : task_.encoded_values;
    const std::uint32_t dim = shared ? task_.key_dim : task_.value_dim;
    const std::uint32_t split = first_encoded(values.format, encoded, position, begin, end);
    if (begin < split)
      add_with(KvFormat::kF16, f16_tile(values, part, dim, position), 0, begin, split);
    if (split < end)
      add_with(values.format, stored_tile(values, part, dim, position),
               position % traits(values.format).tile(), split, end);
  }

  void add_with(KvFormat format, const std::byte* tile, std::uint32_t position, std::uint32_t begin,
                std::uint32_t end) {
    const AddTile* const functions = task_.values_in_keys ? kFunctions.add_keys : kFunctions.add;
    functions[static_cast<std::size_t>(format)](
        tile, {.count = end - begin,
               .dim = task_.value_dim,
               .position = position,
               .weights = scores_[begin],
               .factors = factors_ + begin,
               .outputs = state_.outputs + std::size_t{begin} * task_.value_dim});
  }

  static void fill_zero(float* to, std::size_t n) {
    for (std::size_t i = 0; i < n; i += kLanes) Lanes::broadcast(0).store(to + i, Whole{});
  }

  static constexpr KvFunctions<Lanes> kFunctions = kv_functions<Lanes, Quads>();

  const AttentionTask& task_;
  const AttentionState state_;
  const std::byte* folded_ = nullptr;  // the stored tile of keys that queries were folded for
  float factors_[kMaxAttentionQueries];
  alignas(64) float scores_[kMaxAttentionQueries][kKvTile];  // of the tile, then its weights
};

template <typename Lanes, typename Quads>
void attend(const AttentionTask& task, const AttentionState& state) {
  Attention<Lanes, Quads>(task, state).run();
}

// Merges what a later chunk left of `queries` queries.
template <typename Lanes>
void merge_attention(std::uint32_t queries, std::uint32_t dim, const AttentionState& chunk,
                     const AttentionState& into) {
  for (std::uint32_t i = 0; i < queries; ++i) {
    if (chunk.sums[i] == 0) continue;  // it attends to nothing there
    const float before = into.maxima[i], later = chunk.maxima[i];
    const float maximum = before > later ? before : later;
    const Lanes kept = exponential(Lanes::broadcast(before) - Lanes::broadcast(maximum));
    const Lanes taken = exponential(Lanes::broadcast(later) - Lanes::broadcast(maximum));
    into.maxima[i] = maximum;
    into.sums[i] = __builtin_fmaf(chunk.sums[i], taken.first(), into.sums[i] * kept.first());
    float* const to = into.outputs + std::size_t{i} * dim;
    const float* const from = chunk.outputs + std::size_t{i} * dim;
    for (std::uint32_t c = 0; c < dim; c += kLanes)
      fma(Lanes::load(from + c, Whole{}), taken, Lanes::load(to + c, Whole{}) * kept)
          .store(to + c, Whole{});
  }
}

// The result of one query from its state, with the sink's logit (-infinity: none).
template <typename Lanes>
void finish_attention(float maximum, float sum, float sink, const float* output, std::uint32_t dim,
                      float* result) {
  const float most = maximum > sink ? maximum : sink;
  const Lanes kept = exponential(Lanes::broadcast(maximum) - Lanes::broadcast(most));
  const Lanes added = exponential(Lanes::broadcast(sink) - Lanes::broadcast(most));
  const Lanes total = Lanes::broadcast(sum * kept.first() + added.first());
  for (std::uint32_t c = 0; c < dim; c += kLanes)
    (Lanes::load(output + c, Whole{}) * kept / total).store(result + c, Whole{});
}

template <typename Lanes, typename Quads>
void fill_attention(CpuKernels& table) {
  table.attend = attend<Lanes, Quads>;
  table.merge_attention = merge_attention<Lanes>;
  table.finish_attention = finish_attention<Lanes>;
}

}  // namespace hearth::kernels
