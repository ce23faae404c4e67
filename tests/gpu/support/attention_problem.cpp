#include "tests/gpu/support/attention_problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

constexpr std::uint32_t kStepRows = 40;

std::vector<float> random_floats(std::uint64_t seed, std::size_t n) {
  Random random(seed);
  return normal_floats(random, n);
}

HeadsCache filled(const HeadsCase& c, KvPart part) {
  const bool keys = part == KvPart::kKeys;
  HeadsCache cache({.format = keys ? c.keys : c.values,
                    .part = part,
                    .dim = keys ? c.key_dim : c.value_dim,
                    .heads = c.kv_heads,
                    .context = c.positions,
                    .tail = c.tail,
                    .most_rows = kStepRows});
  const std::size_t width = std::size_t{c.kv_heads} * cache.shape().dim;
  const std::vector<float> rows = random_floats(keys ? 2 : 3, c.positions * width);
  for (std::uint32_t p = 0; p < c.positions; p += kStepRows)
    cache.append(p, std::min(kStepRows, c.positions - p), &rows[p * width]);
  return cache;
}

}  // namespace

std::string describe(const HeadsCase& c) {
  return fmt::format(
      "{}/{}{}, {} positions, {} rows, {} x {} heads of {}/{}{}{}, tail {}, window {}",
      traits(c.keys).name, traits(c.values).name, c.values_in_keys ? " latents" : "", c.positions,
      c.rows, c.kv_heads, c.group, c.key_dim, c.value_dim, c.gated ? " gated" : "",
      c.apart ? " apart" : "", c.tail, c.window);
}

HeadsProblem::HeadsProblem(const HeadsCase& c)
    : case_(c),
      rotation_(c.rotated ? kv_rotation(c.values, KvPart::kValues, c.value_dim) : KvRotation{}),
      queries_(random_floats(1, std::size_t{c.rows} * c.kv_heads * c.group * c.key_dim)),
      keys_(filled(c, KvPart::kKeys)),
      values_(c.values_in_keys ? HeadsCache({}) : filled(c, KvPart::kValues)) {
  if (c.sinks) sinks_ = random_floats(4, heads());
  if (c.gated) gates_ = random_floats(5, c.rows * gate_stride());
}

float HeadsProblem::score_scale() const { return 1 / std::sqrt(static_cast<float>(case_.key_dim)); }

std::uint32_t HeadsProblem::first(std::uint32_t position) const {
  if (case_.window == 0) return 0;
  if (case_.window_is_piece) return position / case_.window * case_.window;
  return std::max(position + 1, case_.window) - case_.window;
}

void HeadsProblem::expect_specified(const TestDevice& on, std::uint32_t first_row,
                                    std::uint32_t rows) const {
  const ExpectedActivations specified(expected(first_row, rows), result_rows(rows),
                                      result_columns());
  const DeviceActivations found(on, result_rows(rows), result_columns());
  attend(on, first_row, rows, found.destination());
  expect_same_activations(
      specified.view(), found,
      fmt::format("{}: rows from {}, {} of {}", on.name, first_row, rows, describe(case_)));
}

void HeadsProblem::expect_specified_floats(const TestDevice& on) const {
  const std::uint32_t rows = result_rows(case_.rows), columns = result_columns();
  const DeviceArray<float> found(on, std::size_t{rows} * columns);
  attend(on, 0, case_.rows,
         {.rows = rows, .columns = columns, .stride = columns, .values = found.data()});
  expect_same_bits(expected(0, case_.rows), found.values(), on.name + ": " + describe(case_));
}

void HeadsProblem::attend(const TestDevice& on, std::uint32_t first_row, std::uint32_t rows,
                          const QuantizeTask::Destination& to) const {
  const std::size_t width = std::size_t{heads()} * case_.key_dim;
  const DeviceArray<float> queries(on, {queries_.data() + first_row * width, rows * width});
  const DeviceArray<float> sinks(on, sinks_), gates(on, gates_);
  const DeviceArray<std::uint32_t> start(on, std::vector<std::uint32_t>{position(first_row)});
  const DeviceArray<float> states(on, attend_state_floats(rows, heads(), case_.value_dim));
  const DeviceCache keys(on, keys_), values(on, values_);
  on.kernels->attend(
      {.rows = rows,
       .heads = heads(),
       .kv_heads = case_.kv_heads,
       .value_dim = case_.value_dim,
       .scale = score_scale(),
       .position = start.data(),
       .window = case_.window,
       .window_is_piece = case_.window_is_piece,
       .tail = case_.tail,
       .queries = queries.data(),
       .query_stride = width,
       .keys = keys.memory(),
       .values = case_.values_in_keys ? KvMemory{} : values.memory(),
       .values_in_keys = case_.values_in_keys,
       .sinks = case_.sinks ? sinks.data() : nullptr,
       .states = states.data(),
       .rotation = reversed(rotation_layout(rotation_)),
       .results = {.apart = case_.apart,
                   .to = to,
                   .gates = case_.gated ? gates.data() + first_row * gate_stride() : nullptr,
                   .gate_stride = gate_stride(),
                   .gate_head_stride = gate_head_stride()}},
      on.stream->native());
  on.stream->synchronize();  // what it reads is gone soon
}

std::vector<float> HeadsProblem::expected(std::uint32_t first_row, std::uint32_t rows) const {
  std::vector<float> all;
  for (std::uint32_t row = first_row; row < first_row + rows; ++row)
    for (std::uint32_t head = 0; head < case_.kv_heads; ++head) {
      const std::vector<float> one = expected_of(row, head);
      all.insert(all.end(), one.begin(), one.end());
    }
  return all;
}

// The heads of one row that share a KV head.
std::vector<float> HeadsProblem::expected_of(std::uint32_t row, std::uint32_t kv_head) const {
  const CpuKernels& scalar = scalar_table();
  const std::uint32_t n = case_.group, at = position(row), end = at + 1;
  const std::size_t width = std::size_t{n} * case_.key_dim;
  const float* const queries = &queries_[(std::size_t{row} * case_.kv_heads + kv_head) * width];
  const std::vector<std::uint32_t> firsts(n, first(at)), ends(n, end);
  const std::vector<std::uint32_t> encoded_keys(n, keys_.encoded(at));
  const std::vector<std::uint32_t> encoded_values(n, values_.encoded(at));
  std::vector<std::int8_t> codes(width), folded_codes(width);
  std::vector<float> scales(width / 32 + 1), folded_scales(width / 32 + 1), zeros(width / 32 + 1);
  std::vector<std::int16_t> sums(width / 16), folded_sums(width / 16);
  if (case_.key_dim % kKvBlock == 0)
    scalar.quantize(queries, static_cast<std::uint32_t>(width), codes.data(), scales.data(),
                    sums.data());
  AttentionTask task{.queries = n,
                     .key_dim = case_.key_dim,
                     .value_dim = case_.value_dim,
                     .scale = score_scale(),
                     .values = queries,
                     .codes = codes.data(),
                     .scales = scales.data(),
                     .sums = sums.data(),
                     .folded = {scalar.quantize, folded_codes.data(), folded_scales.data(),
                                folded_sums.data(), zeros.data()},
                     .first = firsts.data(),
                     .end = ends.data(),
                     .encoded_keys = encoded_keys.data(),
                     .encoded_values = encoded_values.data(),
                     .keys = keys_.source(kv_head),
                     .value_source = case_.values_in_keys ? KvSource{} : values_.source(kv_head),
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
    scalar.attend(task, states[task.chunk_begin == 0 ? 0 : 1]);
    if (task.chunk_begin > 0) scalar.merge_attention(n, case_.value_dim, states[1], states[0]);
  }
  std::vector<float> results(std::size_t{n} * case_.value_dim);
  for (std::uint32_t q = 0; q < n; ++q) {
    const float sink =
        case_.sinks ? sinks_[kv_head * n + q] : -std::numeric_limits<float>::infinity();
    float* const result = &results[std::size_t{q} * case_.value_dim];
    scalar.finish_attention(states[0].maxima[q], states[0].sums[q], sink,
                            states[0].outputs + std::size_t{q} * case_.value_dim, case_.value_dim,
                            result);
    rotate_back(scalar, rotation_, case_.value_dim, result);
    if (!case_.gated) continue;
    const std::size_t head = std::size_t{kv_head} * n + q;
    scalar.sigmoid_multiply(&gates_[row * gate_stride() + head * gate_head_stride()],
                            case_.value_dim, result);
  }
  return results;
}

}  // namespace hearth::kernels
