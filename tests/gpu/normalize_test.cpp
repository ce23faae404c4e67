// The residual stream between two blocks: what is added to it, with gates, norms and factors, of
// experts as well, and the norms that the next block gets; the bits of the scalar kernels.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "kernels/cpu_kernels.h"
#include "tests/gpu/support/expected_activations.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

constexpr float kEpsilon = 1e-5f;

struct NormalizeCase {
  std::uint32_t rows = 2, columns = 100;
  std::uint32_t added = 0;  // parts
  bool gate = false;        // of the first part
  bool part_norms = false;
  bool added_norm = false;
  bool factor = false;
  std::uint32_t outputs = 1;  // the second has no weight
  std::uint32_t experts = 0;  // used by each row: the last part is of them; 0: it is not
  bool weighed = true;        // they are
};

// Rows with a few floats between them.
struct Rows {
  Rows(Random& random, const NormalizeCase& c, double deviation = 1)
      : columns(c.columns), stride(c.columns + 3) {
    values = normal_floats(random, std::size_t{c.rows} * stride, deviation);
  }
  float* of(std::uint32_t row) { return &values[std::size_t{row} * stride]; }

  std::uint32_t columns, stride;
  std::vector<float> values;
};

struct Problem {
  explicit Problem(const NormalizeCase& of)
      : c(of),
        random(of.columns + of.added),
        x(random, of, 3),
        parts{Rows(random, of), Rows(random, of, 5)},
        gates(normal_floats(random, of.rows)),
        factor(normal_floats(random, 1)),
        rank_weights(normal_floats(random, std::size_t{of.rows} * of.experts)) {
    for (auto& weight : weights) weight = normal_floats(random, c.columns);
    for (std::uint32_t pair = 0; pair < rank_weights.size(); ++pair)
      results.push_back(normal_floats(random, c.columns));
  }

  // What the experts of a row give together.
  void combine(std::uint32_t row) {
    float* const sum = parts[c.added - 1].of(row);
    for (std::uint32_t pair = row * c.experts; pair < (row + 1) * c.experts; ++pair) {
      const float weight = c.weighed ? rank_weights[pair] : 1;
      if (pair == row * c.experts) {
        std::ranges::copy(results[pair], sum);
        scalar_table().scale(weight, c.columns, sum);
      } else {
        scalar_table().add_scaled(results[pair].data(), weight, c.columns, sum);
      }
    }
  }

  // What runtime/blocks does with a row; leaves the new residual stream in x.
  void solve() {
    const CpuKernels& k = scalar_table();
    if (c.gate) k.sigmoid(gates.data(), c.rows);
    for (std::uint32_t row = 0; row < c.rows; ++row) {
      if (c.experts > 0) combine(row);
      if (c.gate) k.scale(gates[row], c.columns, parts[0].of(row));
      float* const sum = parts[0].of(row);
      for (std::uint32_t part = 0; part < c.added && c.part_norms; ++part)
        k.rms_norm(parts[part].of(row), weights[part].data(), c.columns, kEpsilon,
                   parts[part].of(row));
      if (c.added == 2) k.add(parts[1].of(row), c.columns, sum);
      if (c.added_norm) k.rms_norm(sum, weights[2].data(), c.columns, kEpsilon, sum);
      if (c.added > 0) k.add(sum, c.columns, x.of(row));
      if (c.factor) k.scale(factor[0], c.columns, x.of(row));
    }
  }
  ExpectedActivations output(std::uint32_t index) {
    std::vector<float> normed(std::size_t{c.rows} * c.columns);
    for (std::uint32_t row = 0; row < c.rows; ++row)
      scalar_table().rms_norm(x.of(row), index == 1 ? nullptr : weights[3 + index].data(),
                              c.columns, kEpsilon, &normed[std::size_t{row} * c.columns]);
    return {normed, c.rows, c.columns};
  }

  NormalizeCase c;
  Random random;
  Rows x;
  Rows parts[2];
  std::vector<float> gates, factor;
  std::vector<float> rank_weights;          // [rows × experts]
  std::vector<std::vector<float>> results;  // of each pair
  std::vector<float> weights[7];
};

// Results of experts wherever they lie: those of the CPU in the host's memory, last pair first.
class ResultsOnDevice {
 public:
  ResultsOnDevice(const TestDevice& on, const Problem& p)
      : used_(p.c.experts),
        weighed_(p.c.weighed),
        stride_(p.c.columns + 3),
        mapped_(MappedMemory::try_allocate(
            *on.device, Bytes((p.results.size() + 1) * p.c.columns * sizeof(float)))),
        weights_(on, p.rank_weights),
        sums_(on, std::size_t{p.c.rows} * stride_) {
    auto* of_host = reinterpret_cast<float*>(mapped_->data());
    std::vector<const float*> addresses(p.results.size());
    for (std::size_t pair = p.results.size(); pair-- > 0;) {
      if (pair % 3 == 1) {
        addresses[pair] = of_host;
        of_host = std::ranges::copy(p.results[pair], of_host).out;
      } else {
        on_device_.emplace_back(on, p.results[pair]);
        addresses[pair] = on_device_.back().data();
      }
    }
    addresses_.emplace(on, addresses);
  }

  ExpertResults view() const {
    return {.used = used_,
            .results = addresses_->data(),
            .weights = weighed_ ? weights_.data() : nullptr,
            .sums = sums_.data(),
            .stride = stride_};
  }

 private:
  std::uint32_t used_;
  bool weighed_;
  std::uint32_t stride_;
  std::optional<MappedMemory> mapped_;
  std::vector<DeviceArray<float>> on_device_;
  DeviceArray<float> weights_, sums_;
  std::optional<DeviceArray<const float*>> addresses_;
};

// The task's row of the residual stream and its outputs.
void expect_same(const NormalizeCase& c) {
  Problem solved(c);
  solved.solve();
  for (const TestDevice& on : test_devices()) {
    const Problem given(c);
    const DeviceArray<float> x(on, given.x.values), gates(on, given.gates),
        factor(on, given.factor);
    const DeviceArray<float> parts[2] = {{on, given.parts[0].values}, {on, given.parts[1].values}};
    std::vector<DeviceArray<float>> weights;
    for (const auto& weight : given.weights) weights.emplace_back(on, weight);
    const ResultsOnDevice results(on, given);
    std::vector<std::unique_ptr<DeviceActivations>> outputs;

    NormalizeTask task{.rows = c.rows,
                       .columns = c.columns,
                       .x = x.data(),
                       .x_stride = given.x.stride,
                       .added_norm = c.added_norm ? weights[2].data() : nullptr,
                       .factor = c.factor ? factor.data() : nullptr,
                       .epsilon = kEpsilon};
    for (std::uint32_t part = 0; part < c.added; ++part)
      task.added[part] = {.x = parts[part].data(),
                          .stride = given.x.stride,
                          .gate = c.gate && part == 0 ? gates.data() : nullptr,
                          .gate_stride = 1,
                          .norm = c.part_norms ? weights[part].data() : nullptr};
    if (c.experts > 0) {
      task.experts = results.view();
      task.added[c.added - 1].x = task.experts.sums;
    }
    for (std::uint32_t i = 0; i < kMostAhead; ++i)
      task.ahead.parts[i] = {reinterpret_cast<const std::byte*>(weights[i].data()),
                             static_cast<std::uint32_t>(c.columns * sizeof(float))};
    for (std::uint32_t i = 0; i < c.outputs; ++i) {
      outputs.push_back(std::make_unique<DeviceActivations>(on, c.rows, c.columns));
      task.outputs[i] = {i == 1 ? nullptr : weights[3 + i].data(), outputs[i]->destination()};
    }
    on.kernels->normalize(task, on.stream->native());

    const std::string where = fmt::format(
        "{}: {} columns, {} added, of {} experts, gate {}, norms {} {}, {} out", on.name, c.columns,
        c.added, c.experts, c.gate, c.part_norms, c.added_norm, c.outputs);
    expect_same_bits(solved.x.values, x.values(), where);
    for (std::uint32_t i = 0; i < c.outputs; ++i)
      expect_same_activations(solved.output(i).view(), *outputs[i], where);
  }
}

TEST(GpuNormalize, EveryLengthGivesTheBitsOfScalar) {
  for (const std::uint32_t columns : {1u, 15u, 32u, 100u, 256u, 1000u, 2048u, 2080u, 8192u, 9001u})
    expect_same({.rows = columns < 3000 ? 3u : 1u, .columns = columns, .outputs = 2});
}

TEST(GpuNormalize, WhatABlockGaveIsAddedFirst) {
  for (const std::uint32_t columns : {33u, 256u, 8200u}) {
    expect_same({.columns = columns, .added = 1});
    expect_same({.columns = columns, .added = 1, .added_norm = true});
    expect_same({.columns = columns, .added = 2, .gate = true});
    expect_same({.columns = columns, .factor = true});
    expect_same({.columns = columns,
                 .added = 2,
                 .gate = true,
                 .part_norms = true,
                 .added_norm = true,
                 .factor = true,
                 .outputs = 4});
    expect_same({.columns = columns, .added = 2, .part_norms = true, .outputs = 0});
  }
}

TEST(GpuNormalize, ExpertsAreCombinedInTheOrderOfRanks) {
  for (const std::uint32_t columns : {1u, 33u, 129u, 2050u, 9001u})
    for (const std::uint32_t experts : {1u, 2u, 8u, 10u})
      expect_same({.rows = columns < 3000 ? 3u : 1u,
                   .columns = columns,
                   .added = 1,
                   .experts = experts,
                   .weighed = experts != 2});
  expect_same({.rows = 1, .columns = 64, .added = 1, .experts = 256});
}

// What they give together is read again by its own norm and that of the sum.
TEST(GpuNormalize, WhatExpertsGaveIsAPartLikeOthers) {
  for (const std::uint32_t columns : {33u, 256u, 8200u})
    for (const bool part_norms : {false, true})
      for (const bool added_norm : {false, true})
        for (const std::uint32_t added : {1u, 2u})
          expect_same({.columns = columns,
                       .added = added,
                       .gate = added == 2,
                       .part_norms = part_norms,
                       .added_norm = added_norm,
                       .factor = added_norm,
                       .outputs = 2,
                       .experts = 4});
}

TEST(GpuNormalize, NoRows) { expect_same({.rows = 0}); }

// A norm over all heads together, where they lie.
TEST(GpuNormalize, RowsOfFloatsInPlace) {
  const NormalizeCase c{.rows = 3, .columns = 333};
  Problem solved(c);
  for (std::uint32_t row = 0; row < c.rows; ++row)
    scalar_table().rms_norm(solved.x.of(row), solved.weights[0].data(), c.columns, kEpsilon,
                            solved.x.of(row));
  for (const TestDevice& on : test_devices()) {
    const Problem given(c);
    const DeviceArray<float> x(on, given.x.values), weight(on, given.weights[0]);
    NormalizeTask task{.rows = c.rows,
                       .columns = c.columns,
                       .x = x.data(),
                       .x_stride = given.x.stride,
                       .epsilon = kEpsilon};
    task.outputs[0] = {
        weight.data(),
        {.rows = c.rows, .columns = c.columns, .stride = given.x.stride, .values = x.data()}};
    on.kernels->normalize(task, on.stream->native());
    expect_same_bits(solved.x.values, x.values(), on.name);
  }
}

}  // namespace
}  // namespace hearth::kernels
