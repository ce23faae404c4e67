// Gated delta nets on a device: the bits of the scalar kernels, and their windows and states.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/delta_gates.h"
#include "tests/gpu/support/test_device.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

constexpr float kEpsilon = 1e-6f;

struct Row {
  std::string name;
  DeltaNetShape shape;
  std::vector<std::uint32_t> steps;  // rows of each
  bool fused = false;                // per key head q | k | v | z and beta | alpha
};

std::string name_of_row(const testing::TestParamInfo<Row>& info) { return info.param.name; }

struct Weights {
  explicit Weights(const DeltaNetShape& shape) {
    Random random(shape.channels());
    convolution = normal_floats(random, std::size_t{shape.channels()} * shape.taps);
    bias = normal_floats(random, shape.value_heads);
    rate = normal_floats(random, shape.value_heads);
    for (float& value : rate) value = -std::abs(value);
    norm = normal_floats(random, shape.value_dim);
  }
  std::vector<float> convolution, bias, rate, norm;
};

// What lasts from step to step; not zeros at first, so that all of it counts.
struct Memory {
  explicit Memory(const DeltaNetShape& shape) {
    Random random(7);
    window = normal_floats(random, std::size_t{shape.taps - 1} * shape.channels());
    state = normal_floats(random, std::size_t{shape.values()} * shape.key_dim);
  }
  std::vector<float> window, state;
};

// What the products of a step gave.
struct Projected {
  Projected(const DeltaNetShape& shape, std::uint32_t rows, Random& random)
      : qkv(normal_floats(random, std::size_t{rows} * shape.channels())),
        z(normal_floats(random, std::size_t{rows} * shape.values())),
        alpha(normal_floats(random, std::size_t{rows} * shape.value_heads, 3)),
        beta(normal_floats(random, std::size_t{rows} * shape.value_heads, 3)) {}
  std::vector<float> qkv, z, alpha, beta;
};

struct Result {
  Result(const DeltaNetShape& shape, std::uint32_t rows)
      : mixed(std::size_t{rows} * shape.channels()),
        decay(std::size_t{rows} * shape.value_heads),
        strength(decay.size()),
        out(std::size_t{rows} * shape.values()),
        finished(out.size()) {}
  std::vector<float> mixed, decay, strength, out, finished;
};

// runtime/blocks/delta_net.cpp, head by head.
Result on_the_cpu(const DeltaNetShape& s, std::uint32_t rows, const Weights& w, const Projected& p,
                  Memory& memory) {
  const CpuKernels& k = scalar_table();
  Result r(s, rows);
  r.mixed = p.qkv;
  for (std::uint32_t c = 0; c < s.channels(); c += 16)
    k.convolve({.rows = rows,
                .channels = 16,
                .taps = s.taps,
                .weights = &w.convolution[std::size_t{c} * s.taps],
                .window = &memory.window[c],
                .window_stride = s.channels(),
                .x = &r.mixed[c],
                .stride = s.channels()});
  for (std::uint32_t row = 0; row < rows; ++row) {
    float* const query = &r.mixed[std::size_t{row} * s.channels()];
    for (std::uint32_t head = 0; head < 2 * s.key_heads; ++head)
      k.l2_norm(query + head * s.key_dim, s.key_dim, kEpsilon,
                head < s.key_heads ? 1.0f / std::sqrt(static_cast<float>(s.key_dim)) : 1.0f,
                query + head * s.key_dim);
    for (std::uint32_t head = 0; head < s.value_heads; ++head) {
      const std::size_t at = std::size_t{row} * s.value_heads + head;
      const DeltaGates gates = delta_gates(p.alpha[at], w.bias[head], w.rate[head], p.beta[at]);
      r.decay[at] = gates.decay;
      r.strength[at] = gates.strength;
    }
  }
  for (std::uint32_t head = 0; head < s.value_heads; ++head) {
    const float* const query = &r.mixed[s.key_head_of(head) * s.key_dim];
    k.update_delta({.rows = rows,
                    .key_dim = s.key_dim,
                    .panels = s.value_dim / kDeltaPanel,
                    .state = &memory.state[std::size_t{head} * s.value_dim * s.key_dim],
                    .query = query,
                    .key = query + s.keys(),
                    .value = &r.mixed[2 * s.keys() + head * s.value_dim],
                    .stride = s.channels(),
                    .decay = &r.decay[head],
                    .strength = &r.strength[head],
                    .gate_stride = s.value_heads,
                    .out = &r.out[head * s.value_dim],
                    .out_stride = s.values()});
  }
  for (std::size_t at = 0; at < r.out.size(); at += s.value_dim) {
    k.rms_norm(&r.out[at], w.norm.data(), s.value_dim, kEpsilon, &r.finished[at]);
    k.silu_multiply(&p.z[at], &r.finished[at], s.value_dim, &r.finished[at]);
  }
  return r;
}

// A layer on a device, from step to step.
class OnDevice {
 public:
  OnDevice(const TestDevice& on, const Row& row)
      : on_(on),
        row_(row),
        weights_(row.shape),
        convolution_(on, weights_.convolution),
        bias_(on, weights_.bias),
        rate_(on, weights_.rate),
        norm_(on, weights_.norm),
        window_(on, Memory(row.shape).window),
        state_(on, Memory(row.shape).state) {}

  // The finished values with their codes, and what came before them.
  Result step(std::uint32_t rows, const Projected& p, const DeviceActivations& to) const {
    const DeltaNetShape& s = row_.shape;
    const DeviceArray<float> qkv(on_, row_.fused ? fused(rows, p) : p.qkv);
    const DeviceArray<float> of_z(on_, p.z);
    const DeviceArray<float> gates(on_, row_.fused ? fused_gates(rows, p) : p.beta);
    const DeviceArray<float> of_alpha(on_, p.alpha);
    const std::uint32_t share = s.heads_per_key(), values = share * s.value_dim;
    const std::uint32_t width = 2 * (s.key_dim + values);  // of a key head, fused
    const std::uint64_t stride = row_.fused ? s.key_heads * width : s.channels();
    const auto input = [&](std::uint32_t at, std::uint32_t fused_at, std::uint32_t apart) {
      const float* const first = rows == 0 ? nullptr : qkv.data() + (row_.fused ? fused_at : at);
      return DeltaInput{first, stride, row_.fused ? width : apart};
    };
    const DeltaInput z = row_.fused ? input(0, 2 * s.key_dim + values, 0)
                                    : DeltaInput{of_z.data(), s.values(), values};
    const DeltaInput beta{gates.data(), (row_.fused ? 2 : 1) * s.value_heads,
                          (row_.fused ? 2 : 1) * share};
    const float* const fused_alpha = rows == 0 ? nullptr : gates.data() + share;
    const DeltaInput alpha = row_.fused ? DeltaInput{fused_alpha, 2 * s.value_heads, 2 * share}
                                        : DeltaInput{of_alpha.data(), s.value_heads, share};

    Result r(s, rows);
    const DeviceArray<float> mixed(on_, r.mixed.size()), decay(on_, r.decay.size());
    const DeviceArray<float> strength(on_, r.strength.size()), out(on_, r.out.size());
    on_.kernels->prepare_delta({.shape = s,
                                .rows = rows,
                                .query = input(0, 0, s.key_dim),
                                .key = input(s.keys(), s.key_dim, s.key_dim),
                                .value = input(2 * s.keys(), 2 * s.key_dim, values),
                                .alpha = alpha,
                                .beta = beta,
                                .convolution = convolution_.data(),
                                .window = window_.data(),
                                .bias = bias_.data(),
                                .rate = rate_.data(),
                                .epsilon = kEpsilon,
                                .mixed = mixed.data(),
                                .decay = decay.data(),
                                .strength = strength.data()},
                               on_.stream->native());
    on_.kernels->update_delta({.shape = s,
                               .rows = rows,
                               .mixed = mixed.data(),
                               .decay = decay.data(),
                               .strength = strength.data(),
                               .state = state_.data(),
                               .out = out.data()},
                              on_.stream->native());
    on_.kernels->finish_delta({.shape = s,
                               .x = out.data(),
                               .z = z,
                               .norm = norm_.data(),
                               .epsilon = kEpsilon,
                               .to = to.destination()},
                              on_.stream->native());
    r.mixed = mixed.values();
    r.decay = decay.values();
    r.strength = strength.values();
    r.out = out.values();
    return r;
  }

  std::vector<float> window() const { return window_.values(); }
  std::vector<float> state() const { return state_.values(); }

 private:
  std::vector<float> fused(std::uint32_t rows, const Projected& p) const {
    const DeltaNetShape& s = row_.shape;
    const std::uint32_t values = s.heads_per_key() * s.value_dim;
    std::vector<float> result;
    const auto take = [&](const std::vector<float>& from, std::size_t at, std::uint32_t count) {
      result.insert(result.end(), &from[at], &from[at] + count);
    };
    for (std::size_t row = 0; row < rows; ++row)
      for (std::size_t head = 0; head < s.key_heads; ++head) {
        const std::size_t first = row * s.channels();
        take(p.qkv, first + head * s.key_dim, s.key_dim);
        take(p.qkv, first + s.keys() + head * s.key_dim, s.key_dim);
        take(p.qkv, first + 2 * s.keys() + head * values, values);
        take(p.z, row * s.values() + head * values, values);
      }
    return result;
  }
  std::vector<float> fused_gates(std::uint32_t rows, const Projected& p) const {
    const std::uint32_t share = row_.shape.heads_per_key();
    std::vector<float> result;
    for (std::size_t head = 0; head < std::size_t{rows} * row_.shape.key_heads; ++head)
      for (const std::vector<float>* from : {&p.beta, &p.alpha})
        result.insert(result.end(), &(*from)[head * share], &(*from)[head * share] + share);
    return result;
  }

  const TestDevice& on_;
  const Row& row_;
  Weights weights_;
  DeviceArray<float> convolution_, bias_, rate_, norm_, window_, state_;
};

void expect_quantized(const Result& expected, std::uint32_t rows, std::uint32_t columns,
                      const DeviceActivations& found, const std::string& where) {
  const std::vector<float> values = found.values.values(), scales = found.scales.values();
  const std::vector<std::int8_t> codes = found.codes.values();
  const std::vector<std::int16_t> sums = found.sums.values();
  const std::size_t stride = values.size() / rows;
  for (std::size_t row = 0; row < rows; ++row) {
    std::vector<float> whole(&expected.finished[row * columns],
                             &expected.finished[row * columns] + columns);
    whole.resize(stride);
    std::vector<std::int8_t> its_codes(stride);
    std::vector<float> its_scales(stride / 32);
    std::vector<std::int16_t> its_sums(stride / 16);
    scalar_table().quantize(whole.data(), static_cast<std::uint32_t>(stride), its_codes.data(),
                            its_scales.data(), its_sums.data());
    expect_same_bits(whole, {&values[row * stride], stride}, where + ": finished");
    expect_same_bits(its_scales, {&scales[row * stride / 32], stride / 32}, where + ": scales");
    EXPECT_TRUE(std::ranges::equal(its_codes, std::span(codes).subspan(row * stride, stride)));
    EXPECT_TRUE(
        std::ranges::equal(its_sums, std::span(sums).subspan(row * stride / 16, stride / 16)));
  }
}

class GpuDeltaNet : public testing::TestWithParam<Row> {};

TEST_P(GpuDeltaNet, GivesTheBitsOfScalar) {
  const DeltaNetShape& shape = GetParam().shape;
  const Weights weights(shape);
  for (const TestDevice& on : test_devices()) {
    Random random(shape.keys());
    Memory memory(shape);
    const OnDevice device(on, GetParam());
    for (const std::uint32_t rows : GetParam().steps) {
      const Projected projected(shape, rows, random);
      const DeviceActivations to(on, rows, shape.values());
      const Result expected = on_the_cpu(shape, rows, weights, projected, memory);
      const Result found = device.step(rows, projected, to);
      const std::string where = fmt::format("{}: {} rows", on.name, rows);
      expect_same_bits(expected.mixed, found.mixed, where + ": mixed");
      expect_same_bits(expected.decay, found.decay, where + ": decay");
      expect_same_bits(expected.strength, found.strength, where + ": strength");
      expect_same_bits(expected.out, found.out, where + ": out");
      expect_quantized(expected, rows, shape.values(), to, where);
      expect_same_bits(memory.window, device.window(), where + ": window");
      expect_same_bits(memory.state, device.state(), where + ": state");
    }
  }
}

constexpr auto kGrouped = DeltaNetShape::Heads::kGrouped;
constexpr auto kTiled = DeltaNetShape::Heads::kTiled;

// Heads of one panel, of three, and of the models; more taps than rows and fewer; rows that fill
// the groups of a block, and more; columns that end within a quantized block and within a block of
// threads.
INSTANTIATE_TEST_SUITE_P(
    All, GpuDeltaNet,
    testing::Values(Row{"Smallest", {1, 1, 16, 16, 2, kTiled}, {1, 2}},
                    Row{"OfTheModels", {1, 2, 128, 128, 4, kTiled}, {1, 1, 8}},
                    Row{"OfTheModelsFused", {2, 4, 128, 128, 4, kGrouped}, {1, 2}, true},
                    Row{"ThreePanels", {2, 6, 32, 48, 4, kGrouped}, {3, 1}},
                    Row{"Tiled", {3, 9, 32, 48, 3, kTiled}, {2, 5}},
                    Row{"TiledAndFused", {3, 9, 16, 48, 3, kTiled}, {2, 5}, true},
                    Row{"MostTaps", {1, 2, 48, 16, kMaxConvolutionTaps, kTiled}, {3, 9, 1}},
                    Row{"ManyHeads", {2, 40, 16, 16, 4, kGrouped}, {2}},
                    Row{"MostKeys", {1, 1, kMostDeltaKeys, 48, 4, kTiled}, {1}}),
    name_of_row);

TEST(GpuDeltaNet, NoRowsChangeNothing) {
  const Row row{"None", {1, 2, 16, 16, 4, kTiled}, {}};
  const Memory memory(row.shape);
  for (const TestDevice& on : test_devices()) {
    const OnDevice device(on, row);
    Random random(1);
    device.step(0, Projected(row.shape, 0, random), DeviceActivations(on, 0, row.shape.values()));
    expect_same_bits(memory.window, device.window(), on.name);
    expect_same_bits(memory.state, device.state(), on.name);
  }
}

// A NaN stays in its head, and a gate that is closed or wide open is no other number.
TEST(GpuDeltaNet, ExtremesAreAsOnTheCpu) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Row row{"Extremes", {1, 2, 16, 16, 4, kTiled}, {}};
  const Weights weights(row.shape);
  for (const float special :
       {nan, kInfinity, -kInfinity, 0.0f, -0.0f, 1e30f, -1e30f, 100.0f, -100.0f, 1e-45f})
    for (const TestDevice& on : test_devices()) {
      Random random(3);
      Memory memory(row.shape);
      Projected projected(row.shape, 2, random);
      projected.qkv[std::size_t{2} * row.shape.keys() + 3] = special;
      std::fill_n(projected.qkv.begin() + row.shape.channels(), 16, special);
      projected.alpha[0] = projected.beta[1] = projected.z[1] = special;
      projected.alpha[3] = projected.beta[2] = special;
      const DeviceActivations to(on, 2, row.shape.values());
      const OnDevice device(on, row);
      const Result expected = on_the_cpu(row.shape, 2, weights, projected, memory);
      const Result found = device.step(2, projected, to);
      const std::string where = fmt::format("{}: {}", on.name, special);
      expect_same_bits(expected.mixed, found.mixed, where + ": mixed");
      expect_same_bits(expected.decay, found.decay, where + ": decay");
      expect_same_bits(expected.strength, found.strength, where + ": strength");
      expect_same_bits(expected.out, found.out, where + ": out");
      expect_quantized(expected, 2, row.shape.values(), to, where);
      expect_same_bits(memory.window, device.window(), where + ": window");
      expect_same_bits(memory.state, device.state(), where + ": state");
    }
}

}  // namespace
}  // namespace hearth::kernels
