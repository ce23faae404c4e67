#include "tests/gpu/support/attention_case.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/random.h"

namespace hearth::kernels {
namespace {

const CpuKernels& scalar() { return cpu_kernels(InstructionSet::kScalar); }

std::vector<float> normal_floats(std::uint64_t seed, std::size_t n) {
  Random random(seed);
  std::vector<float> values(n);
  for (float& value : values) value = static_cast<float>(random.normal());
  return values;
}

std::uint32_t tiles_of(std::uint32_t positions) { return (positions + kKvTile - 1) / kKvTile; }

}  // namespace

std::string describe(const AttentionShapeCase& c) {
  return std::string(traits(c.keys).name) + "/" + std::string(traits(c.values).name) + ", " +
         std::to_string(c.positions) + " positions, rows " + std::to_string(c.rows) + ", heads " +
         std::to_string(c.kv_heads) + " x " + std::to_string(c.group) + ", dims " +
         std::to_string(c.key_dim) + "/" + std::to_string(c.value_dim) + ", tail " +
         std::to_string(c.tail) + ", window " + std::to_string(c.window);
}

HeadsCache::HeadsCache(KvFormat format, KvPart part, std::uint32_t dim, const AttentionShapeCase& c,
                       std::vector<float> rows)
    : format_(format),
      part_(part),
      dim_(dim),
      heads_(c.kv_heads),
      positions_(c.positions),
      tail_(c.tail) {
  const KvFormatTraits& row = traits(format);
  const std::uint32_t all = tiles_of(positions_) * kKvTile;
  tiles_per_head_ =
      row.quantized() ? (std::max(all, row.sink()) - row.sink()) / row.tile() : all / kKvTile;
  tiles_.resize(heads_ * tiles_per_head_ * kv_tile_bytes(format, part, dim));
  if (row.quantized()) {
    recent_tiles_ = tiles_of(tail_ + c.rows + row.tile()) + 1;
    recent_.resize(heads_ * recent_tiles_ * f16_bytes());
    sink_tiles_ = row.sink() / kKvTile;
    sink_.resize(heads_ * sink_tiles_ * f16_bytes());
  }
  for (std::uint32_t head = 0; head < heads_; ++head)
    store(head, &rows[std::size_t{head} * all * dim]);
}

void HeadsCache::store(std::uint32_t head, const float* rows) {
  const KvFormatTraits& row = traits(format_);
  const std::size_t bytes = kv_tile_bytes(format_, part_, dim_), tile_floats = kKvTile * dim_;
  std::byte* const tiles = tiles_.data() + head * tiles_per_head_ * bytes;
  if (!row.quantized()) {
    for (std::uint32_t p = 0; p < positions_; ++p)
      store_row(format_, part_, rows + p * dim_, dim_, p % kKvTile, tiles + p / kKvTile * bytes);
    return;
  }
  std::vector<float> as_f16(tiles_of(positions_) * tile_floats);
  for (std::uint32_t t = 0; t < tiles_of(positions_); ++t) {
    std::vector<std::byte> tile(f16_bytes());
    for (std::uint32_t p = t * kKvTile; p < std::min(positions_, (t + 1) * kKvTile); ++p)
      store_row(KvFormat::kF16, part_, rows + p * dim_, dim_, p % kKvTile, tile.data());
    decode_tile(KvFormat::kF16, part_, tile.data(), dim_, &as_f16[t * tile_floats]);
    std::byte* const to = t < sink_tiles_
                              ? &sink_[(head * sink_tiles_ + t) * f16_bytes()]
                              : &recent_[(head * recent_tiles_ + t % recent_tiles_) * f16_bytes()];
    std::copy(tile.begin(), tile.end(), to);
  }
  for (std::uint32_t t = 0; t < tiles_per_head_; ++t) {
    const std::uint32_t first = row.sink() + t * row.tile();
    if (first + row.tile() <= positions_)
      encode_tile(format_, part_, &as_f16[first * dim_], dim_, tiles + t * bytes);
  }
}

KvMemory HeadsCache::memory() {
  return {.layout = kv_layout(format_, part_, dim_),
          .tiles = tiles_.data(),
          .tiles_per_head = tiles_per_head_,
          .recent = recent_.data(),
          .recent_tiles = recent_tiles_,
          .sink = sink_.data(),
          .sink_tiles = sink_tiles_};
}

KvSource HeadsCache::source(std::uint32_t head) const {
  return {.format = format_,
          .tiles = tiles_.data() + head * tiles_per_head_ * kv_tile_bytes(format_, part_, dim_),
          .recent = recent_.data() + head * recent_tiles_ * f16_bytes(),
          .recent_tiles = recent_tiles_,
          .sink = sink_.data() + head * sink_tiles_ * f16_bytes()};
}

std::uint32_t HeadsCache::encoded(std::uint32_t position) const {
  const KvFormatTraits& row = traits(format_);
  const std::uint32_t seen = position + 1, old = seen > tail_ ? seen - tail_ : 0;
  if (!row.quantized()) return tiles_of(seen) * kKvTile;
  return std::max(row.sink(), old / row.tile() * row.tile());
}

AttentionOfHeads::AttentionOfHeads(const AttentionShapeCase& c)
    : case_(c),
      rotation_(c.rotated ? kv_rotation(c.values, KvPart::kValues, c.value_dim) : KvRotation{}),
      queries_(normal_floats(1, std::size_t{c.rows} * c.kv_heads * c.group * c.key_dim)),
      keys_(
          c.keys, KvPart::kKeys, c.key_dim, c,
          normal_floats(2, std::size_t{c.kv_heads} * tiles_of(c.positions) * kKvTile * c.key_dim)),
      values_(c.values_in_keys ? KvFormat::kF16 : c.values, KvPart::kValues, c.value_dim, c,
              normal_floats(
                  3, std::size_t{c.kv_heads} * tiles_of(c.positions) * kKvTile * c.value_dim)) {
  if (c.sinks) sinks_ = normal_floats(4, heads());
  for (std::uint32_t row = 0; row < c.rows; ++row) positions_.push_back(c.positions - c.rows + row);
}

AttendTask AttentionOfHeads::task(std::uint32_t first_row, std::uint32_t rows) {
  const std::size_t width = std::size_t{heads()} * case_.key_dim;
  return {.rows = rows,
          .heads = heads(),
          .kv_heads = case_.kv_heads,
          .value_dim = case_.value_dim,
          .scale = 1 / std::sqrt(static_cast<float>(case_.key_dim)),
          .position = &positions_[first_row],
          .window = case_.window,
          .window_is_piece = case_.window_is_piece,
          .tail = case_.tail,
          .queries = queries_.data() + first_row * width,
          .query_stride = width,
          .keys = keys_.memory(),
          .values = case_.values_in_keys ? KvMemory{} : values_.memory(),
          .values_in_keys = case_.values_in_keys,
          .sinks = case_.sinks ? sinks_.data() : nullptr,
          .rotation = reversed(rotation_layout(rotation_))};
}

std::vector<float> AttentionOfHeads::expected() const {
  std::vector<float> all;
  for (std::uint32_t row = 0; row < case_.rows; ++row)
    for (std::uint32_t head = 0; head < case_.kv_heads; ++head) {
      const std::vector<float> one = expected_of(row, head);
      all.insert(all.end(), one.begin(), one.end());
    }
  return all;
}

// The heads of one row that share a KV head.
std::vector<float> AttentionOfHeads::expected_of(std::uint32_t row, std::uint32_t kv_head) const {
  const std::uint32_t n = case_.group, position = positions_[row], end = position + 1;
  const std::size_t width = std::size_t{n} * case_.key_dim;
  const float* const queries = &queries_[(std::size_t{row} * case_.kv_heads + kv_head) * width];
  const std::uint32_t first = case_.window == 0       ? 0
                              : case_.window_is_piece ? position / case_.window * case_.window
                              : end > case_.window    ? end - case_.window
                                                      : 0;
  const std::vector<std::uint32_t> firsts(n, first), ends(n, end);
  const std::vector<std::uint32_t> encoded_keys(n, keys_.encoded(position)),
      encoded_values(n, values_.encoded(position));
  std::vector<std::int8_t> codes(width), folded_codes(width);
  std::vector<float> scales(width / 32 + 1), folded_scales(width / 32 + 1), zeros(width / 32 + 1);
  std::vector<std::int16_t> sums(width / 16), folded_sums(width / 16);
  if (case_.key_dim % 32 == 0)
    scalar().quantize(queries, static_cast<std::uint32_t>(width), codes.data(), scales.data(),
                      sums.data());
  AttentionTask task{.queries = n,
                     .key_dim = case_.key_dim,
                     .value_dim = case_.value_dim,
                     .scale = 1 / std::sqrt(static_cast<float>(case_.key_dim)),
                     .values = queries,
                     .codes = codes.data(),
                     .scales = scales.data(),
                     .sums = sums.data(),
                     .folded = {scalar().quantize, folded_codes.data(), folded_scales.data(),
                                folded_sums.data(), zeros.data()},
                     .first = firsts.data(),
                     .end = ends.data(),
                     .encoded_keys = encoded_keys.data(),
                     .encoded_values = encoded_values.data(),
                     .keys = keys_.source(kv_head),
                     .value_source = values_.source(kv_head),
                     .values_in_keys = case_.values_in_keys};
  std::vector<float> floats[2];  // merged, and one chunk
  AttentionState states[2];
  for (int i = 0; i < 2; ++i) {
    floats[i].resize(std::size_t{n} * (2 + case_.value_dim));
    states[i] = {floats[i].data(), floats[i].data() + n, floats[i].data() + 2 * n};
  }
  const std::uint32_t chunk = attention_chunk(end);
  for (task.chunk_begin = 0; task.chunk_begin < end; task.chunk_begin += chunk) {
    task.chunk_end = task.chunk_begin + chunk;
    scalar().attend(task, states[task.chunk_begin == 0 ? 0 : 1]);
    if (task.chunk_begin > 0) scalar().merge_attention(n, case_.value_dim, states[1], states[0]);
  }
  std::vector<float> results(std::size_t{n} * case_.value_dim);
  for (std::uint32_t q = 0; q < n; ++q) {
    const float sink =
        case_.sinks ? sinks_[kv_head * n + q] : -std::numeric_limits<float>::infinity();
    float* const result = &results[std::size_t{q} * case_.value_dim];
    scalar().finish_attention(states[0].maxima[q], states[0].sums[q], sink,
                              states[0].outputs + std::size_t{q} * case_.value_dim, case_.value_dim,
                              result);
    rotate_back(scalar(), rotation_, case_.value_dim, result);
  }
  return results;
}

}  // namespace hearth::kernels
