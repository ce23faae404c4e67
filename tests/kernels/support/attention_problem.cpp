#include "tests/kernels/support/attention_problem.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "base/random.h"
#include "kernels/kv/code_planes.h"
#include "kernels/quant/half.h"
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
      const std::uint32_t old = end > c.tail ? end - c.tail : 0;
      const auto encoded = [&](KvFormat format) {
        const KvFormatTraits& of = traits(format);
        if (!of.quantized()) return tiles_ * kKvTile;
        return std::max(of.sink(), old / of.tile() * of.tile());
      };
      end_.push_back(end);
      first_.push_back(c.window > 0 && end > c.window ? end - c.window : 0);
      encoded_keys_.push_back(encoded(c.keys));
      encoded_values_.push_back(encoded(c.values));
    }
  std::vector<float> keys = normal_floats(random, std::size_t{tiles_} * kKvTile * c.key_dim);
  for (float& key : keys) key *= static_cast<float>(c.deviation);
  keys_ = store(KvPart::kKeys, c.keys, keys, c.key_dim);
  value_source_ =
      store(KvPart::kValues, c.values,
            normal_floats(random, std::size_t{tiles_} * kKvTile * c.value_dim), c.value_dim);
}

// All positions in f16, as if the ring were as long as the context, and all complete tiles in the
// format.
AttentionProblem::Stored AttentionProblem::store(KvPart part, KvFormat format,
                                                 const std::vector<float>& rows,
                                                 std::uint32_t dim) {
  Stored stored;
  const KvFormatTraits& row = traits(format);
  const std::size_t f16_bytes = kv_tile_bytes(KvFormat::kF16, part, dim);
  const std::size_t bytes = kv_tile_bytes(format, part, dim);
  stored.recent.resize(tiles_ * f16_bytes);
  stored.rows.resize(2 * rows.size());
  float* const of_recent = stored.rows.data() + rows.size();
  for (std::uint32_t t = 0; t < tiles_; ++t) {
    std::byte* const recent = &stored.recent[t * f16_bytes];
    for (std::uint32_t p = 0; p < kKvTile; ++p)
      store_row(KvFormat::kF16, part, &rows[(t * kKvTile + p) * dim], dim, p, recent);
    decode_tile(KvFormat::kF16, part, recent, dim, of_recent + std::size_t{t} * kKvTile * dim);
  }
  const std::uint32_t positions = tiles_ * kKvTile;
  for (std::uint32_t p = row.sink(); p + row.tile() <= positions; p += row.tile()) {
    stored.tiles.resize(stored.tiles.size() + bytes);
    std::byte* const tile = stored.tiles.data() + stored.tiles.size() - bytes;
    if (row.quantized())
      encode_tile(format, part, of_recent + std::size_t{p} * dim, dim, tile);
    else
      for (std::uint32_t i = 0; i < kKvTile; ++i)
        store_row(format, part, &rows[(p + i) * dim], dim, i, tile);
    decode_tile(format, part, tile, dim, &stored.rows[std::size_t{p} * dim]);
  }
  return stored;
}

AttentionTask AttentionProblem::task() const {
  return {
      .queries = queries(),
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
      .keys = {case_.keys, keys_.tiles.data(), keys_.recent.data(), tiles_, keys_.recent.data()},
      .value_source = {case_.values, value_source_.tiles.data(), value_source_.recent.data(),
                       tiles_, value_source_.recent.data()},
      .values_in_keys = case_.values_in_keys};
}

std::vector<float> AttentionProblem::run(const CpuKernels& table, AttentionTask task,
                                         float sink) const {
  constexpr float kUnset = std::numeric_limits<float>::quiet_NaN();
  const auto state_of = [](std::vector<float>& memory, std::uint32_t queries) {
    return AttentionState{memory.data(), memory.data() + queries, memory.data() + 2 * queries};
  };
  const std::size_t values = std::size_t{task.queries} * task.key_dim;
  std::vector<std::int8_t> codes(values);
  std::vector<float> scales(values / 32 + 1), zeros(values / 32 + 1);
  std::vector<std::int16_t> sums(values / 16 + 1);
  task.folded = {table.quantize, codes.data(), scales.data(), sums.data(), zeros.data()};
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
  const bool recent = traits(format).quantized() && !in_format(format, position, encoded);
  return stored.rows.data() + (recent ? stored.rows.size() / 2 : 0) + std::size_t{position} * dim;
}

bool AttentionProblem::in_format(KvFormat format, std::uint32_t position,
                                 std::uint32_t encoded) const {
  return traits(format).quantized() && position < encoded && position >= traits(format).sink();
}

// Every quantized format has a slice's scales of positions first. KVarN multiplies with that of the
// channel, too.
double AttentionProblem::largest_value_scale(std::uint32_t position) const {
  const KvFormatTraits& row = traits(case_.values);
  const std::uint32_t channels = row.slice(case_.value_dim), within = position - row.sink();
  const KvSliceLayout layout = kv_slice_layout(case_.values, KvPart::kValues, channels);
  const std::byte* slice =
      &value_source_.tiles[within / row.tile() *
                           kv_tile_bytes(case_.values, KvPart::kValues, case_.value_dim)];
  const auto half = [&](std::size_t offset, std::uint32_t i) {
    std::uint16_t bits;
    std::memcpy(&bits, slice + offset + 2 * i, 2);
    return std::abs(double{f32_of_f16(bits)});
  };
  double scale = 0, other = row.family == KvFamily::kKvarn ? 0 : 1;
  for (std::uint32_t c = 0; c < case_.value_dim; c += channels, slice += layout.bytes) {
    for (std::uint32_t p = 0; p < kKvTile; ++p)
      scale = std::max(scale, half(0, within / kKvTile * kKvTile % row.tile() + p));
    for (std::uint32_t i = 0; i < channels && row.family == KvFamily::kKvarn; ++i)
      other = std::max(other, half(layout.third, i));
  }
  return scale * other;
}

// A query meets the stored tiles of KVarN folded with their scales, and quantized after that.
AttentionProblem::Dot AttentionProblem::folded_dot(std::uint32_t query,
                                                   std::uint32_t position) const {
  const KvFormatTraits& row = traits(case_.keys);
  const std::uint32_t channels = row.slice(case_.key_dim), within = position % row.tile();
  const KvSliceLayout layout = kv_slice_layout(case_.keys, KvPart::kKeys, channels);
  const std::byte* slice = &keys_.tiles[(position - row.sink()) / row.tile() *
                                        kv_tile_bytes(case_.keys, KvPart::kKeys, case_.key_dim)];
  const auto half = [&](std::size_t offset, std::uint32_t i) {
    std::uint16_t bits;
    std::memcpy(&bits, slice + offset + 2 * i, 2);
    return f32_of_f16(bits);
  };
  Dot dot;
  for (std::uint32_t c = 0; c < case_.key_dim; c += channels, slice += layout.bytes) {
    const float* const q = &values_[query * case_.key_dim + c];
    float folded[kKvSlice], scales[kKvSlice / 32];
    std::int8_t codes[kKvSlice];
    std::int16_t sums[kKvSlice / 16];
    std::uint8_t keys[kKvTile * kKvBlock];
    for (std::uint32_t i = 0; i < channels; ++i) folded[i] = q[i] * half(0, i);
    scalar_table().quantize(folded, channels, codes, scales, sums);
    const double other = half(layout.third, within);
    for (std::uint32_t i = 0; i < channels; ++i) {
      if (i % kKvBlock == 0) {
        const std::size_t block = within / kKvTile * (channels / kKvBlock) + i / kKvBlock;
        unpack_codes(case_.keys, KvPart::kKeys,
                     slice + layout.codes + block * kv_planes(case_.keys).block_bytes(), kKvBlock,
                     keys);
      }
      const int key = kv_code_value(case_.keys, keys[within % kKvTile * kKvBlock + i % kKvBlock]);
      const double of_code = other * scales[i / 32] * codes[i] * key;
      const double of_zero = other * q[i] * half(layout.second, i);
      dot.value += of_code + of_zero;
      dot.magnitude += std::abs(of_code) + std::abs(of_zero);
    }
  }
  return dot;
}

AttentionProblem::Dot AttentionProblem::dot(std::uint32_t query, std::uint32_t position) const {
  const KvFormatTraits& row = traits(case_.keys);
  const bool coded = in_format(case_.keys, position, encoded_keys_[query]);
  if (coded && row.family == KvFamily::kKvarn) return folded_dot(query, position);
  const float* const key = row_of(keys_, case_.keys, case_.key_dim, position, encoded_keys_[query]);
  Dot dot;
  for (std::uint32_t d = 0; d < case_.key_dim; ++d) {
    const std::size_t at = std::size_t{query} * case_.key_dim + d;
    const double value =
        coded ? double{scales_[at / 32]} * codes_[at] : static_cast<double>(values_[at]);
    dot.value += value * key[d];
    // decode_tile rounds d × code + m once where there is a minimum.
    dot.magnitude += std::abs(value * key[d]) * 2;
  }
  return dot;
}

// With u = 2^-24, the relative error of one rounding:
// - A score is a chain of at most key_dim fused additions (for blocks: of dim / 32 terms, each of
//   two more rounded products), times scale: an absolute error of (key_dim + 3) u Σ|q k| scale; and
//   s - m' that of two scores and one rounding of a value up to 2 max|s|.
// - A weight has that as its relative error, and 4 u of exp. A rescale exp(m - m') is such a weight
//   too; the product of rescales telescopes to exp(m_first - m_last) with the errors of the steps,
//   4 u + 1 u (of the product) for each, and one u of max|s| at each change of the maximum.
// - The sums have chains of up to `positions` fused additions and one rescaling product for each
//   tile and chunk; block values add the rounded product of a sum of codes with its scale and the
//   sum of the minima (8 u). The bound counts all in both numerator (against Σ w|v|) and
//   denominator, and one division.
// - Weights that meet codes count from the largest score of their tile: the product with exp of
//   what that is below the maximum has the error of one more rescale.
// - The code of a weight of a tile of block values is off by half a step and by three roundings of
//   at most 32767, below 0.51 of A / 32767, where A is the largest w × the largest scale of the
//   tile; that for 32 positions whose codes are at most 127.
AttentionProblem::Exact AttentionProblem::exact(double sink) const {
  constexpr double kUnit = 0x1p-24;
  const double scale = task().scale;
  const std::uint32_t chunk = attention_chunk(case_.positions);
  const std::uint32_t blocks = tiles_ + (case_.positions + chunk - 1) / chunk + 4;
  Exact result;
  for (std::uint32_t i = 0; i < queries(); ++i) {
    const std::uint32_t count = end_[i] - first_[i];
    std::vector<double> scores(count);
    double largest = std::isinf(sink) ? 0 : std::abs(sink), largest_error = 0;
    for (std::uint32_t n = 0; n < count; ++n) {
      const Dot of_key = dot(i, first_[i] + n);
      scores[n] = of_key.value * scale;
      largest = std::max(largest, std::abs(scores[n]));
      largest_error =
          std::max(largest_error, (case_.key_dim + 3) * kUnit * of_key.magnitude * scale);
    }
    double maximum = *std::max_element(scores.begin(), scores.end());
    maximum = std::max(maximum, sink);
    const double weight_error = 2 * largest_error + (2 * largest * blocks + 5 * blocks + 4) * kUnit;
    const double relative = 2 * (weight_error + (count + blocks + 16) * kUnit) + kUnit;
    double sum = std::exp(sink - maximum), of_tile = 0, of_codes = 0;
    std::vector<double> out(case_.value_dim, 0.0), magnitude(case_.value_dim, 0.0);
    for (std::uint32_t n = 0; n < count; ++n) {
      const double weight = std::exp(scores[n] - maximum);
      sum += weight;
      const std::uint32_t position = first_[i] + n;
      if (n == 0 || position % kKvTile == 0) of_codes += std::exchange(of_tile, 0);
      if (!case_.values_in_keys && in_format(case_.values, position, encoded_values_[i]))
        of_tile =
            std::max(of_tile, weight * largest_value_scale(position) * 32 * 127 * 0.51 / 32767);
      const float* const value = value_row(i, first_[i] + n);
      // With a minimum, d × code and m may be larger than their sum: at most 32 times |d|. With a
      // zero, code × scale and zero are at most the largest value each, but for factors of channels
      // that differ by less than 2 among values that are all alike.
      double more = traits(case_.values).has_minimum() ? 4 : 0;
      if (traits(case_.values).family == KvFamily::kKvarn)
        for (std::uint32_t d = 0; d < case_.value_dim; ++d)
          more = std::max(more, 4.0 * std::abs(value[d]));
      for (std::uint32_t d = 0; d < case_.value_dim; ++d) {
        out[d] += weight * value[d];
        magnitude[d] += weight * (std::abs(value[d]) + more);
      }
    }
    for (std::uint32_t d = 0; d < case_.value_dim; ++d) {
      result.out.push_back(out[d] / sum);
      result.bound.push_back((relative * magnitude[d] + of_codes + of_tile) / sum * 1.01);
    }
  }
  return result;
}
AttentionProblem::Exact AttentionProblem::exact() const {
  return exact(-std::numeric_limits<double>::infinity());
}

void AttentionProblem::poison_key(std::uint32_t position) {
  store_key(position, std::vector<float>(case_.key_dim, std::numeric_limits<float>::quiet_NaN()));
}

void AttentionProblem::store_key(std::uint32_t position, const std::vector<float>& row) {
  const std::size_t bytes = kv_tile_bytes(case_.keys, KvPart::kKeys, case_.key_dim);
  store_row(case_.keys, KvPart::kKeys, row.data(), case_.key_dim, position % kKvTile,
            &keys_.tiles[position / kKvTile * bytes]);
}

void AttentionProblem::poison_value(std::uint32_t position) {
  const KvFormatTraits& row = traits(case_.values);
  const std::vector<float> rows(std::size_t{row.tile()} * case_.value_dim,
                                std::numeric_limits<float>::quiet_NaN());
  encode_tile(case_.values, KvPart::kValues, rows.data(), case_.value_dim,
              &value_source_.tiles[(position - row.sink()) / row.tile() *
                                   kv_tile_bytes(case_.values, KvPart::kValues, case_.value_dim)]);
}

}  // namespace hearth::kernels
