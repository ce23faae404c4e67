#include "tests/kernels/support/attention_problem.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/random.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {

AttentionProblem::AttentionProblem(const AttentionCase& c)
    : case_(c), tiles_((c.positions + kKvTile - 1) / kKvTile) {
  Random random(c.positions * 1000 + c.group * 10 + c.key_dim);
  values_ = normal_floats(random, std::size_t{queries()} * c.key_dim);
  codes_.resize(values_.size());
  scales_.resize(values_.size() / 32 + 1);
  sums_.resize(values_.size() / 16 + 1);
  for (std::uint32_t i = 0; i < queries() && c.key_dim % 32 == 0; ++i) {
    const std::size_t at = std::size_t{i} * c.key_dim;
    scalar_table().quantize(&values_[at], c.key_dim, &codes_[at], &scales_[at / 32],
                            &sums_[at / 16]);
  }
  for (std::uint32_t row = 0; row < c.rows; ++row)
    for (std::uint32_t head = 0; head < c.group; ++head) {
      const std::uint32_t end = c.positions - (c.rows - 1 - row);
      const std::uint32_t encoded = end > c.tail ? (end - c.tail) / kKvTile * kKvTile : 0;
      const std::uint32_t everything = tiles_ * kKvTile;
      end_.push_back(end);
      first_.push_back(c.window > 0 && end > c.window ? end - c.window : 0);
      encoded_keys_.push_back(traits(c.keys).quantized() ? encoded : everything);
      encoded_values_.push_back(traits(c.values).quantized() ? encoded : everything);
    }
  std::vector<float> keys = normal_floats(random, std::size_t{tiles_} * kKvTile * c.key_dim);
  for (float& key : keys) key *= static_cast<float>(c.deviation);
  keys_ = store(KvPart::kKeys, c.keys, keys, c.key_dim);
  value_source_ =
      store(KvPart::kValues, c.values,
            normal_floats(random, std::size_t{tiles_} * kKvTile * c.value_dim), c.value_dim);
}

// Every tile in both forms; the ring is as long as the context.
AttentionProblem::Stored AttentionProblem::store(KvPart part, KvFormat format,
                                                 const std::vector<float>& rows,
                                                 std::uint32_t dim) {
  Stored stored;
  const std::size_t tile_values = std::size_t{kKvTile} * dim;
  stored.tiles.resize(tiles_ * kv_tile_bytes(format, dim));
  stored.recent.resize(tiles_ * kv_tile_bytes(KvFormat::kF16, dim));
  stored.rows.resize(2 * rows.size());
  for (std::uint32_t t = 0; t < tiles_; ++t) {
    std::byte* const tile = &stored.tiles[t * kv_tile_bytes(format, dim)];
    std::byte* const recent = &stored.recent[t * kv_tile_bytes(KvFormat::kF16, dim)];
    const float* const from = &rows[t * tile_values];
    if (traits(format).quantized()) encode_tile(format, part, from, dim, tile);
    for (std::uint32_t p = 0; p < kKvTile; ++p) {
      if (!traits(format).quantized()) store_row(format, part, from + p * dim, dim, p, tile);
      store_row(KvFormat::kF16, part, from + p * dim, dim, p, recent);
    }
    decode_tile(format, part, tile, dim, &stored.rows[t * tile_values]);
    decode_tile(KvFormat::kF16, part, recent, dim, &stored.rows[rows.size() + t * tile_values]);
  }
  return stored;
}

AttentionTask AttentionProblem::task() const {
  return {.queries = queries(),
          .key_dim = case_.key_dim,
          .value_dim = case_.value_dim,
          .scale = 1 / std::sqrt(static_cast<float>(case_.key_dim)),
          .values = values_.data(),
          .codes = codes_.data(),
          .scales = scales_.data(),
          .sums = sums_.data(),
          .first = first_.data(),
          .end = end_.data(),
          .encoded_keys = encoded_keys_.data(),
          .encoded_values = encoded_values_.data(),
          .keys = {case_.keys, keys_.tiles.data(), keys_.recent.data(), tiles_},
          .value_source = {case_.values, value_source_.tiles.data(), value_source_.recent.data(),
                           tiles_},
          .values_in_keys = case_.values_in_keys};
}

std::vector<float> AttentionProblem::run(const CpuKernels& table, AttentionTask task,
                                         float sink) const {
  constexpr float kUnset = std::numeric_limits<float>::quiet_NaN();
  const auto state_of = [](std::vector<float>& memory, std::uint32_t queries) {
    return AttentionState{memory.data(), memory.data() + queries, memory.data() + 2 * queries};
  };
  const std::size_t floats = std::size_t{task.queries} * (2 + task.value_dim);
  std::vector<float> merged(floats, kUnset), one(floats, kUnset);
  const std::uint32_t chunk = attention_chunk(case_.positions);
  for (std::uint32_t begin = 0; begin < case_.positions; begin += chunk) {
    task.chunk_begin = begin;
    task.chunk_end = begin + chunk;
    table.attend(task, state_of(begin == 0 ? merged : one, task.queries));
    if (begin > 0)
      table.merge_attention(task.queries, task.value_dim, state_of(one, task.queries),
                            state_of(merged, task.queries));
  }
  const AttentionState state = state_of(merged, task.queries);
  std::vector<float> out(std::size_t{task.queries} * task.value_dim, kUnset);
  for (std::uint32_t i = 0; i < task.queries; ++i)
    table.finish_attention(state.maxima[i], state.sums[i], sink, state.outputs + i * task.value_dim,
                           task.value_dim, &out[i * task.value_dim]);
  return out;
}

std::vector<float> AttentionProblem::attend(const CpuKernels& table, float sink) const {
  return run(table, task(), sink);
}
std::vector<float> AttentionProblem::attend(const CpuKernels& table) const {
  return attend(table, -std::numeric_limits<float>::infinity());
}

std::vector<float> AttentionProblem::attend_alone(const CpuKernels& table, std::uint32_t i) const {
  AttentionTask alone = task();
  alone.queries = 1;
  alone.values += i * case_.key_dim;
  alone.codes += i * case_.key_dim;
  alone.scales += i * (case_.key_dim / 32);
  alone.sums += i * (case_.key_dim / 16);
  alone.first += i;
  alone.end += i;
  alone.encoded_keys += i;
  alone.encoded_values += i;
  return run(table, alone, -std::numeric_limits<float>::infinity());
}

const float* AttentionProblem::value_row(std::uint32_t query, std::uint32_t position) const {
  return case_.values_in_keys
             ? row_of(keys_, case_.keys, case_.key_dim, position, encoded_keys_[query])
             : row_of(value_source_, case_.values, case_.value_dim, position,
                      encoded_values_[query]);
}

const float* AttentionProblem::row_of(const Stored& stored, KvFormat format, std::uint32_t dim,
                                      std::uint32_t position, std::uint32_t encoded) const {
  const bool recent = traits(format).quantized() && position >= encoded;
  return stored.rows.data() + (recent ? stored.rows.size() / 2 : 0) + std::size_t{position} * dim;
}

// With u = 2^-24, the relative error of one rounding:
// - A score is a chain of at most key_dim fused additions (for blocks: of dim / 32 terms, each of
//   two more rounded products), times scale: an absolute error of (key_dim + 3) u Σ|q k| scale; and
//   s - m' that of two scores and one rounding of a value up to 2 max|s|.
// - A weight has that as its relative error, and 4 u of exp. A rescale exp(m - m') is such a weight
//   too; the product of rescales telescopes to exp(m_first - m_last) with the errors of the steps,
//   4 u + 1 u (of the product) for each, and one u of max|s| at each change of the maximum.
// - The sums have chains of up to `positions` fused additions and one rescaling product for each
//   tile and chunk; block values add a rounded w × d and the sum of the minima (8 u). The bound
//   counts all in both numerator (against Σ w|v|) and denominator, and one division.
AttentionProblem::Exact AttentionProblem::exact(double sink) const {
  constexpr double kUnit = 0x1p-24;
  const double scale = task().scale;
  const std::uint32_t blocks = tiles_ + 4;
  Exact result;
  for (std::uint32_t i = 0; i < queries(); ++i) {
    const std::uint32_t count = end_[i] - first_[i];
    std::vector<double> scores(count);
    double largest = std::isinf(sink) ? 0 : std::abs(sink), largest_error = 0;
    const bool block_keys = traits(case_.keys).quantized();
    for (std::uint32_t n = 0; n < count; ++n) {
      const std::uint32_t p = first_[i] + n;
      const float* const key = row_of(keys_, case_.keys, case_.key_dim, p, encoded_keys_[i]);
      const bool coded = block_keys && p < encoded_keys_[i];
      double dot = 0, magnitude = 0;
      for (std::uint32_t d = 0; d < case_.key_dim; ++d) {
        const std::size_t at = std::size_t{i} * case_.key_dim + d;
        const double query =
            coded ? double{scales_[at / 32]} * codes_[at] : static_cast<double>(values_[at]);
        dot += query * key[d];
        // decode_tile rounds d × code + m once where there is a minimum.
        magnitude += std::abs(query * key[d]) * 2;
      }
      scores[n] = dot * scale;
      largest = std::max(largest, std::abs(scores[n]));
      largest_error = std::max(largest_error, (case_.key_dim + 3) * kUnit * magnitude * scale);
    }
    double maximum = *std::max_element(scores.begin(), scores.end());
    maximum = std::max(maximum, sink);
    const double weight_error = 2 * largest_error + (2 * largest * blocks + 5 * blocks + 4) * kUnit;
    const double relative = 2 * (weight_error + (count + blocks + 16) * kUnit) + kUnit;
    double sum = std::exp(sink - maximum);
    std::vector<double> out(case_.value_dim, 0.0), magnitude(case_.value_dim, 0.0);
    for (std::uint32_t n = 0; n < count; ++n) {
      const double weight = std::exp(scores[n] - maximum);
      sum += weight;
      const float* const value = value_row(i, first_[i] + n);
      for (std::uint32_t d = 0; d < case_.value_dim; ++d) {
        out[d] += weight * value[d];
        // With a minimum, d × code and m may be larger than their sum: at most 32 times |d|.
        magnitude[d] += weight * (std::abs(value[d]) + (traits(case_.values).has_minimum ? 4 : 0));
      }
    }
    for (std::uint32_t d = 0; d < case_.value_dim; ++d) {
      result.out.push_back(out[d] / sum);
      result.bound.push_back(relative * magnitude[d] / sum * 1.01);
    }
  }
  return result;
}
AttentionProblem::Exact AttentionProblem::exact() const {
  return exact(-std::numeric_limits<double>::infinity());
}

void AttentionProblem::poison_key(std::uint32_t position) {
  std::vector<float> row(case_.key_dim, std::numeric_limits<float>::quiet_NaN());
  const std::size_t bytes = kv_tile_bytes(case_.keys, case_.key_dim);
  store_row(case_.keys, KvPart::kKeys, row.data(), case_.key_dim, position % kKvTile,
            &keys_.tiles[position / kKvTile * bytes]);
}

}  // namespace hearth::kernels
