// Gated products on a device: the bits of the scalar kernels.
#include <fmt/format.h>

#include <limits>

#include "kernels/cpu_kernels.h"
#include "tests/gpu/support/expected_activations.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

void activate(GatedActivation activation, const float* gate, const float* up, std::uint32_t n,
              float* out) {
  const CpuKernels& k = scalar_table();
  switch (activation) {
    case GatedActivation::kSilu:
      return k.silu_multiply(gate, up, n, out);
    case GatedActivation::kGelu:
      return k.gelu_multiply(gate, up, n, out);
    case GatedActivation::kClamped:
      return k.clamped_multiply(gate, up, n, out);
  }
}

constexpr GatedActivation kActivations[] = {GatedActivation::kSilu, GatedActivation::kGelu,
                                            GatedActivation::kClamped};

// Gates and other values of a row lie in one, as products leave them.
void expect_gated(GatedActivation activation, const std::vector<float>& both, std::uint32_t rows,
                  std::uint32_t columns) {
  std::vector<float> gated(std::size_t{rows} * columns);
  for (std::uint32_t row = 0; row < rows; ++row) {
    const float* const gate = both.data() + std::size_t{row} * 2 * columns;
    activate(activation, gate, gate + columns, columns, gated.data() + std::size_t{row} * columns);
  }
  const ExpectedActivations expected(gated, rows, columns);
  for (const TestDevice& on : test_devices()) {
    const DeviceArray<float> x(on, both);
    const float* const up = rows == 0 ? nullptr : x.data() + columns;
    const DeviceActivations found(on, rows, columns);
    on.kernels->gate({.activation = activation,
                      .gate = {.x = x.data(), .stride = 2 * columns},
                      .up = {.x = up, .stride = 2 * columns},
                      .to = found.destination()},
                     on.stream->native());
    expect_same_activations(expected.view(), found,
                            fmt::format("{}: activation {}, {} columns", on.name,
                                        static_cast<int>(activation), columns));
  }
}

TEST(GpuGate, EveryActivationGivesTheBitsOfScalar) {
  Random random(4);
  for (const GatedActivation activation : kActivations)
    for (const std::uint32_t columns : {1u, 31u, 32u, 250u, 1100u})
      for (const std::uint32_t rows : {0u, 1u, 3u})
        expect_gated(activation, normal_floats(random, std::size_t{rows} * 2 * columns, 4), rows,
                     columns);
}

TEST(GpuGate, ExtremesGiveTheBitsOfScalar) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> special = {
      0.0f, -0.0f,     1e-38f,     -87.3f, 87.3f,  88.8f,
      -90,  kInfinity, -kInfinity, 7.0f,   -7.01f, std::numeric_limits<float>::quiet_NaN()};
  std::vector<float> both;
  for (const float gate : special) both.insert(both.end(), special.size(), gate);
  for (std::size_t i = 0; i < special.size(); ++i)
    both.insert(both.end(), special.begin(), special.end());
  for (const GatedActivation activation : kActivations)
    expect_gated(activation, both, 1, static_cast<std::uint32_t>(both.size() / 2));
}

}  // namespace
}  // namespace hearth::kernels
