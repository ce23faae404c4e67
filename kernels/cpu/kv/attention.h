// Attention over tiles of the cache (kernels/attention.h), for all formats and instruction sets.
//
// 32 positions meet all queries of the task while they are in the caches. Which functions read them
// is looked up once, by the formats of keys and of values: every pair is on the same path.
#pragma once

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
    for (std::uint32_t i = 0; i < task_.queries + kLanes; i += kLanes) {
      Lanes::broadcast(-__builtin_inff()).store(maxima_ + i, Whole{});
      Lanes::broadcast(0).store(sums_ + i, Whole{});
    }
    fill_zero(state_.outputs, std::size_t{task_.queries} * task_.value_dim);
    const std::uint32_t from = task_.first[0] / kKvTile * kKvTile;
    const std::uint32_t last = task_.end[task_.queries - 1];
    const std::uint32_t end = last < task_.chunk_end ? last : task_.chunk_end;
    for (std::uint32_t p = from > task_.chunk_begin ? from : task_.chunk_begin; p < end;
         p += kKvTile)
      tile(p);
    for (std::uint32_t i = 0; i < task_.queries; ++i) {
      state_.maxima[i] = maxima_[i];
      state_.sums[i] = sums_[i];
    }
  }

 private:
  // Queries [begin, end) see something of the tile: those before it are at the front, those whose
  // window has passed it at the back.
  void tile(std::uint32_t position) {
    std::uint32_t begin = 0, end = task_.queries;
    while (begin < end && task_.end[begin] <= position) ++begin;
    while (end > begin && task_.first[end - 1] >= position + kKvTile) --end;
    if (begin == end) return;
    weigh(position, begin, end, score(position, begin, end));
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

  // Of the tile's 32 positions from `position` on, which a longer tile does not hold in one piece:
  // an equal part of its bytes stands for them. The lines of the next 32 are then not quite these,
  // and the first cache is not asked for them.
  LinesAhead lines_ahead(KvFormat format, KvPart part, std::uint32_t dim, const std::byte* tile,
                         std::uint32_t position) const {
    const std::size_t bytes = kv_tile_bytes(format, part, dim) * kKvTile / traits(format).tile();
    return {tile + position / kKvTile * bytes, bytes,
            into_first_cache_ && traits(format).tile() == kKvTile};
  }

  // Returns the lines of keys that are still to be asked for.
  LinesAhead score(std::uint32_t position, std::uint32_t begin, std::uint32_t end) {
    const KvSource& keys = task_.keys;
    const std::uint32_t dim = task_.key_dim;
    const std::uint32_t split =
        first_encoded(keys.format, task_.encoded_keys, position, begin, end);
    LinesAhead left;
    if (begin < split)
      left =
          score_with(KvFormat::kF16, f16_tile(keys, KvPart::kKeys, dim, position), 0, begin, split);
    if (split == end) return left;
    const std::byte* const tile = stored_tile(keys, KvPart::kKeys, dim, position);
    fold(tile, position);
    return score_with(keys.format, tile, position % traits(keys.format).tile(), split, end);
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

  LinesAhead score_with(KvFormat format, const std::byte* tile, std::uint32_t position,
                        std::uint32_t begin, std::uint32_t end) {
    const std::size_t dim = task_.key_dim;
    const bool folded = kFunctions.fold[static_cast<std::size_t>(format)] != nullptr;
    const FoldedQueries& own = task_.folded;
    LinesAhead ahead = lines_ahead(format, KvPart::kKeys, task_.key_dim, tile, position);
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
        .ahead = &ahead,
    };
    kFunctions.score[static_cast<std::size_t>(format)](tile, queries, scores_[begin]);
    return ahead;
  }

  // Makes the scores weights, and brings maxima and sums of the queries up to date: what each query
  // has one of, for 16 queries at once. No part of the cache is read here, so the lines of keys
  // that score() has left are asked for.
  void weigh(std::uint32_t position, std::uint32_t begin, std::uint32_t end, LinesAhead ahead) {
    const std::uint32_t count = end - begin;
    const std::size_t lines = (ahead.left() + count - 1) / count;
    // The largest scores, then the sums of weights. All are stored as whole vectors: what is stored
    // in part cannot be read before it has reached the cache.
    alignas(64) float of_tile[kMaxAttentionQueries + kLanes], bases[kMaxAttentionQueries + kLanes];
    hide(position, begin, end);
    for_groups<Lanes::kGroup>(count, [&]<std::uint32_t n>(std::uint32_t first, Count<n>) {
      Lanes scores[n];
      for_constants<n>([&]<std::uint32_t k>(Count<k>) {
        const std::uint32_t i = begin + first + k;
        scores[k] = larger(half(i, 0), half(i, 1));
      });
      largest_of(scores).store(of_tile + first, Whole{});
    });
    const std::uint32_t as_floats = meet_floats(position, begin, end) - begin;
    for (std::uint32_t i = 0; i < count; i += kLanes) {
      const std::uint32_t floats = as_floats > i ? as_floats - i : 0;
      const Lanes before = Lanes::load(maxima_ + begin + i, Whole{});
      const Lanes largest = Lanes::load(of_tile + i, Whole{});
      const Lanes maximum = larger(before, largest);
      const Lanes base = larger(Lanes::broadcast(-__FLT_MAX__), largest);
      maximum.first_of(floats, base).store(bases + i, Whole{});
      exponential(before - maximum).store(factors_ + begin + i, Whole{});
      Lanes::broadcast(1)
          .first_of(floats, exponential(base - maximum))
          .store(gains_ + begin + i, Whole{});
      maximum.first_of(count - i, before).store(maxima_ + begin + i, Whole{});
    }
    for_groups<Lanes::kGroup>(count, [&]<std::uint32_t n>(std::uint32_t first, Count<n>) {
      Lanes weights[n];
      for_constants<n>([&]<std::uint32_t k>(Count<k>) {
        const std::uint32_t i = begin + first + k;
        ahead.ask(lines);
        const Lanes base = Lanes::broadcast(bases[first + k]);
        const Lanes low = exponential_of_negative(half(i, 0) - base);
        const Lanes high = exponential_of_negative(half(i, 1) - base);
        low.store(scores_[i], Whole{});
        high.store(scores_[i] + kLanes, Whole{});
        weights[k] = low + high;
      });
      sums_of(weights).store(of_tile + first, Whole{});
    });
    for (std::uint32_t i = 0; i < count; i += kLanes) {
      const Lanes before = Lanes::load(sums_ + begin + i, Whole{});
      const Lanes kept = before * Lanes::load(factors_ + begin + i, Whole{});
      fma(Lanes::load(of_tile + i, Whole{}), Lanes::load(gains_ + begin + i, Whole{}), kept)
          .first_of(count - i, before)
          .store(sums_ + begin + i, Whole{});
    }
  }
  // Where the queries begin whose weights of the tile meet codes of values.
  std::uint32_t meet_floats(std::uint32_t position, std::uint32_t begin, std::uint32_t end) const {
    const KvFormat format = task_.value_source.format;
    if (task_.values_in_keys || !traits(format).quantized()) return end;
    return first_encoded(format, task_.encoded_values, position, begin, end);
  }
  Lanes half(std::uint32_t i, std::uint32_t half) const {
    return Lanes::load(scores_[i] + half * kLanes, Whole{});
  }
  // Positions that queries do not attend to: none, but where a context begins or ends.
  void hide(std::uint32_t position, std::uint32_t begin, std::uint32_t end) {
    if (task_.first[end - 1] <= position && position + kKvTile <= task_.end[begin]) return;
    for (std::uint32_t i = begin; i < end; ++i)
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
    LinesAhead ahead;
    if (!task_.values_in_keys)
      ahead = lines_ahead(format, KvPart::kValues, task_.value_dim, tile, position);
    functions[static_cast<std::size_t>(format)](
        tile, {.count = end - begin,
               .dim = task_.value_dim,
               .position = position,
               .weights = scores_[begin],
               .gains = gains_ + begin,
               .factors = factors_ + begin,
               .outputs = state_.outputs + std::size_t{begin} * task_.value_dim,
               .ahead = &ahead});
    ahead.ask(ahead.left());
  }

  static void fill_zero(float* to, std::size_t n) {
    for (std::size_t i = 0; i < n; i += kLanes) Lanes::broadcast(0).store(to + i, Whole{});
  }

  static constexpr KvFunctions<Lanes> kFunctions = kv_functions<Lanes, Quads>();

  const AttentionTask& task_;
  const AttentionState state_;
  const bool into_first_cache_ = prefetches_into_first_cache();
  const std::byte* folded_ = nullptr;  // the stored tile of keys that queries were folded for
  // Of the queries, as state_ will have them. A vector may begin at the last query.
  alignas(64) float maxima_[kMaxAttentionQueries + kLanes];
  float sums_[kMaxAttentionQueries + kLanes];
  float factors_[kMaxAttentionQueries + kLanes];
  float gains_[kMaxAttentionQueries + kLanes];
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
