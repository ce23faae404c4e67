// A layer of experts on the GPU, from the jobs that a resolve writes to the result of each: the
// bits of the scalar kernels, for every activation, with and without scales, biases and weighed
// inputs.
#include <fmt/format.h>

#include <memory>

#include "kernels/cpu_kernels.h"
#include "tests/gpu/support/test_device.h"
#include "tests/kernels/support/cpu_tables.h"
#include "tests/kernels/support/matrices.h"

namespace hearth::kernels {
namespace {

constexpr std::uint32_t kExperts = 5, kUsed = 2;

struct Row {
  std::string name;
  WeightFormat hidden = WeightFormat::kQ4_K;
  WeightFormat down = WeightFormat::kQ6_K;
  std::uint32_t embedding = 256;
  std::uint32_t expert_ff = 256;
  std::uint32_t tokens = 1;
  GatedActivation activation = GatedActivation::kSilu;
  bool terms = false;           // scales and biases
  bool weighs_inputs = false;   // by the router, before the experts instead of after
  bool one_on_the_host = true;  // an expert whose weights are not on the device
};

std::string name_of_row(const testing::TestParamInfo<Row>& info) { return info.param.name; }

CpuKernels::GatedFn scalar_activation(GatedActivation activation) {
  if (activation == GatedActivation::kGelu) return scalar_table().gelu_multiply;
  if (activation == GatedActivation::kClamped) return scalar_table().clamped_multiply;
  return scalar_table().silu_multiply;
}

// The weights of a layer, what its router chose, and the scalar kernels' answer.
struct Layer {
  explicit Layer(const Row& shape)
      : row(shape),
        random(shape.expert_ff + shape.tokens),
        x(shape.tokens, shape.embedding, random) {
    for (std::uint32_t e = 0; e < kExperts; ++e) {
      gate.push_back(matrix(row.hidden, row.expert_ff, row.embedding));
      up.push_back(matrix(row.hidden, row.expert_ff, row.embedding));
      down.push_back(matrix(row.down, row.embedding, row.expert_ff));
    }
    for (std::uint32_t m = 0; m < 3; ++m) {
      scale.push_back(normal_floats(random, kExperts));
      bias.push_back(normal_floats(random, std::size_t{kExperts} * width(m)));
    }
    weights = normal_floats(random, pairs());
    // All tokens want expert 1; the other of a token differs.
    for (std::uint32_t t = 0; t < row.tokens; ++t) {
      chosen.push_back(1);
      chosen.push_back(t % 2 == 0 ? 3 : 4);
    }
  }

  std::uint32_t pairs() const { return row.tokens * kUsed; }
  std::uint32_t width(std::uint32_t m) const { return m == 2 ? row.embedding : row.expert_ff; }
  std::unique_ptr<GuardedMatrix> matrix(WeightFormat format, std::uint32_t rows,
                                        std::uint32_t columns) {
    return std::make_unique<GuardedMatrix>(format, rows, columns, Blocks::kRandom, random);
  }

  std::vector<float> multiply(const WeightMatrix& w, const Activations& in, std::uint32_t m,
                              std::uint32_t expert) const {
    std::vector<float> y(w.rows);
    scalar_table().matmul[static_cast<std::size_t>(w.format)](w, {0, w.rows}, in, y.data(), w.rows);
    if (!row.terms) return y;
    scalar_table().scale(scale[m][expert], w.rows, y.data());
    scalar_table().add(&bias[m][std::size_t{expert} * w.rows], w.rows, y.data());
    return y;
  }

  // The result of one pair.
  std::vector<float> expert_out(std::uint32_t pair) const {
    const std::uint32_t expert = chosen[pair];
    Activations in = slice_rows(x.view(), pair / kUsed, 1);
    std::vector<float> values(in.values, in.values + in.stride);
    std::vector<float> scales(in.scales, in.scales + in.stride / 32);
    if (row.weighs_inputs) {
      scalar_table().scale(weights[pair], in.stride, values.data());
      scalar_table().scale(weights[pair], in.stride / 32, scales.data());
    }
    in.values = values.data();
    in.scales = scales.data();
    const auto g = multiply(gate[expert]->view(), in, 0, expert);
    const auto u = multiply(up[expert]->view(), in, 1, expert);
    std::vector<std::byte> memory(ActivationBuffer::bytes_needed(1, row.expert_ff).count + 64);
    const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
    ActivationBuffer hidden({memory.data() + (64 - address % 64) % 64, memory.size() - 64}, 1,
                            row.expert_ff);
    hidden.set_shape(1, row.expert_ff);
    scalar_activation(row.activation)(g.data(), u.data(), row.expert_ff, hidden.values(0));
    scalar_table().quantize(hidden.values(0), row.expert_ff, hidden.codes(0), hidden.scales(0),
                            hidden.sums(0));
    return multiply(down[expert]->view(), hidden.view(), 2, expert);
  }

  Row row;
  Random random;
  TestActivations x;
  std::vector<std::unique_ptr<GuardedMatrix>> gate, up, down;
  std::vector<std::vector<float>> scale, bias;
  std::vector<float> weights;
  std::vector<std::uint32_t> chosen;
};

// The layer in the memory of a device, pairs grouped by expert as a resolve does it.
class LayerOnDevice {
 public:
  LayerOnDevice(const Layer& layer, const TestDevice& on)
      : layer_(layer),
        on_(on),
        x_(on, layer.x.view()),
        hidden_(on, layer.pairs(), layer.row.expert_ff),
        out_(on, std::size_t{layer.pairs()} * layer.row.embedding) {
    for (std::uint32_t m = 0; m < 3; ++m) {
      scale_.emplace_back(on, layer.scale[m]);
      bias_.emplace_back(on, layer.bias[m]);
    }
    for (std::uint32_t e = 0; e < kExperts; ++e) {
      matrices_.push_back(on_device(on, layer.gate[e]->view()));
      matrices_.push_back(on_device(on, layer.up[e]->view()));
      matrices_.push_back(on_device(on, layer.down[e]->view()));
    }
    group();
  }

  // The expert whose weights the device does not have; kExperts: none.
  std::uint32_t absent() const { return layer_.row.one_on_the_host ? 4 : kExperts; }
  std::uint32_t place(std::uint32_t pair) const { return place_[pair]; }

  using Operation = void (*)(const Products&, NativeStream);
  void run_experts(Operation product) {
    const Row& row = layer_.row;
    const DeviceArray<ExpertJob> jobs(on_, jobs_);
    const DeviceArray<std::uint32_t> rows(on_, x_rows_);
    const DeviceArray<float> pair_weights(on_, pair_weights_);
    product(ProductTask{.format = row.hidden,
                        .rows = row.expert_ff,
                        .columns = row.embedding,
                        .x = x_.view(),
                        .matrices = 2,
                        .jobs = jobs.data(),
                        .job_count = kExperts,
                        .x_rows = rows.data(),
                        .x_weights = row.weighs_inputs ? pair_weights.data() : nullptr,
                        .most_rows = row.tokens,
                        .terms = {terms(0), terms(1)},
                        .activation = row.activation,
                        .hidden = hidden_.destination()},
            on_.stream->native());
    product(ProductTask{.format = row.down,
                        .rows = row.embedding,
                        .columns = row.expert_ff,
                        .x = hidden_.view(),
                        .jobs = jobs.data(),
                        .job_count = kExperts,
                        .job_matrix = 2,
                        .most_rows = row.tokens,
                        .terms = {terms(2), {}},
                        .y = out_.data(),
                        .y_stride = row.embedding},
            on_.stream->native());
    on_.stream->synchronize();
  }

  std::vector<float> out() const { return out_.values(); }

 private:
  OutputTerms terms(std::size_t m) const {
    if (!layer_.row.terms) return {};
    return {.scale = scale_[m].data(), .bias = bias_[m].data()};
  }

  void group() {
    place_.resize(layer_.pairs());
    for (std::uint32_t e = 0; e < kExperts; ++e) {
      const auto begin = static_cast<std::uint32_t>(x_rows_.size());
      for (std::uint32_t pair = 0; pair < layer_.pairs(); ++pair) {
        if (layer_.chosen[pair] != e) continue;
        place_[pair] = static_cast<std::uint32_t>(x_rows_.size());
        x_rows_.push_back(pair / kUsed);
        pair_weights_.push_back(layer_.weights[pair]);
      }
      const auto count = static_cast<std::uint32_t>(x_rows_.size()) - begin;
      ExpertJob job{.expert = e, .begin = begin, .rows = count};
      for (std::size_t m = 0; m < 3 && e != absent(); ++m)
        job.matrices[m] = matrices_[3 * e + m].data();
      jobs_.push_back(job);
    }
  }

  const Layer& layer_;
  const TestDevice& on_;
  DeviceActivations x_, hidden_;
  DeviceArray<float> out_;
  std::vector<DeviceArray<float>> scale_, bias_;
  std::vector<DeviceArray<std::byte>> matrices_;
  std::vector<ExpertJob> jobs_;
  std::vector<std::uint32_t> x_rows_, place_;
  std::vector<float> pair_weights_;
};

class GpuExperts : public testing::TestWithParam<Row> {};

TEST_P(GpuExperts, GiveTheBitsOfScalar) {
  const Layer layer(GetParam());
  const std::uint32_t n = GetParam().embedding;
  std::vector<float> results;
  for (std::uint32_t pair = 0; pair < layer.pairs(); ++pair) {
    const auto out = layer.expert_out(pair);
    results.insert(results.end(), out.begin(), out.end());
  }

  for (const TestDevice& on : test_devices())
    for (const auto operation : {on.kernels->product, on.kernels->matrix_product}) {
      if (operation == on.kernels->product && GetParam().tokens > kMostProductRows) continue;
      LayerOnDevice device(layer, on);
      device.run_experts(operation);
      const auto out = device.out();
      for (std::uint32_t pair = 0; pair < layer.pairs(); ++pair) {
        const std::span<const float> found(&out[std::size_t{device.place(pair)} * n], n);
        if (layer.chosen[pair] == device.absent())
          for (const float value : found) ASSERT_TRUE(std::isnan(value)) << "written by nobody";
        else
          expect_same_bits({&results[std::size_t{pair} * n], n}, found,
                           fmt::format("{}: pair {}", on.name, pair));
      }
    }
}

INSTANTIATE_TEST_SUITE_P(
    All, GpuExperts,
    testing::Values(
        Row{.name = "OneToken"},  //
        Row{.name = "EightTokens", .tokens = 8},
        Row{.name = "ManyBlocks",
            .hidden = WeightFormat::kIQ3_XXS,
            .down = WeightFormat::kIQ4_NL,
            .embedding = 512,
            .expert_ff = 96,
            .tokens = 2},
        Row{.name = "BiasesAndClampedValues",
            .hidden = WeightFormat::kMXFP4,
            .down = WeightFormat::kMXFP4,
            .embedding = 96,
            .expert_ff = 160,
            .tokens = 3,
            .activation = GatedActivation::kClamped,
            .terms = true},
        Row{.name = "WeighedInputs",
            .hidden = WeightFormat::kQ8_0,
            .down = WeightFormat::kQ5_1,
            .embedding = 64,
            .expert_ff = 32,
            .tokens = 4,
            .activation = GatedActivation::kGelu,
            .weighs_inputs = true},
        Row{.name = "WeighedFloats",
            .hidden = WeightFormat::kF16,
            .down = WeightFormat::kBF16,
            .embedding = 50,
            .expert_ff = 45,
            .tokens = 2,
            .weighs_inputs = true},
        Row{.name = "AllOnTheDevice", .tokens = 2, .terms = true, .one_on_the_host = false},
        Row{.name = "ManyTokens", .embedding = 256, .expert_ff = 512, .tokens = 70},
        Row{.name = "ManyWeighedTokens",
            .hidden = WeightFormat::kQ5_1,
            .down = WeightFormat::kIQ4_NL,
            .embedding = 96,
            .expert_ff = 64,
            .tokens = 33,
            .activation = GatedActivation::kClamped,
            .terms = true,
            .weighs_inputs = true},
        Row{.name = "ManyWeighedFloats",
            .hidden = WeightFormat::kBF16,
            .down = WeightFormat::kF32,
            .embedding = 37,
            .expert_ff = 45,
            .tokens = 11,
            .activation = GatedActivation::kGelu,
            .terms = true,
            .weighs_inputs = true},
        // More than the blocks of a launch take in one turn.
        Row{.name = "MoreTokensThanBlocks",
            .hidden = WeightFormat::kQ8_0,
            .down = WeightFormat::kQ4_0,
            .embedding = 32,
            .expert_ff = 32,
            .tokens = 150}),
    name_of_row);

}  // namespace
}  // namespace hearth::kernels
