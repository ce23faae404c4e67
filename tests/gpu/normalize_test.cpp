// The residual stream between two blocks: what is added to it, with gates, norms and factors, and
// the norms that the next block gets; the bits of the scalar kernels.
#include <fmt/format.h>

#include <memory>

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
        factor(normal_floats(random, 1)) {
    for (auto& weight : weights) weight = normal_floats(random, c.columns);
  }

  // What runtime/blocks does with a row; leaves the new residual stream in x.
  void solve() {
    const CpuKernels& k = scalar_table();
    if (c.gate) k.sigmoid(gates.data(), c.rows);
    for (std::uint32_t row = 0; row < c.rows; ++row) {
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
  std::vector<float> weights[7];
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
    for (std::uint32_t i = 0; i < c.outputs; ++i) {
      outputs.push_back(std::make_unique<DeviceActivations>(on, c.rows, c.columns));
      task.outputs[i] = {i == 1 ? nullptr : weights[3 + i].data(), outputs[i]->destination()};
    }
    on.kernels->normalize(task, on.stream->native());

    const std::string where =
        fmt::format("{}: {} columns, {} added, gate {}, norms {} {}, {} out", on.name, c.columns,
                    c.added, c.gate, c.part_norms, c.added_norm, c.outputs);
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
