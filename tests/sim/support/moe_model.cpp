#include "tests/sim/support/moe_model.h"

#include <algorithm>

#include "tests/kernels/support/cpu_tables.h"

namespace hearth::sim {

using kernels::Activations;
using kernels::Blocks;
using kernels::GuardedMatrix;
using kernels::scalar_table;
using kernels::WeightFormat;

namespace {

// A row with its quantized form.
class QuantizedRow {
 public:
  QuantizedRow(const float* values, std::uint32_t columns)
      : memory_(kernels::ActivationBuffer::bytes_needed(1, columns).count + 64) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    buffer_ = {{memory_.data() + (64 - address % 64) % 64, memory_.size() - 64}, 1, columns};
    buffer_.set_shape(1, columns);
    std::copy_n(values, columns, buffer_.values(0));
    scalar_table().quantize(buffer_.values(0), columns, buffer_.codes(0), buffer_.scales(0),
                            buffer_.sums(0));
  }
  Activations view() const { return buffer_.view(); }

 private:
  std::vector<std::byte> memory_;
  kernels::ActivationBuffer buffer_;
};

std::vector<float> product(const kernels::WeightMatrix& w, const Activations& x) {
  std::vector<float> y(w.rows);
  scalar_table().matmul[static_cast<std::size_t>(w.format)](w, {0, w.rows}, x, y.data(), w.rows);
  return y;
}

}  // namespace

MoeModel::MoeModel(const MoeShape& shape) : shape_(shape) {
  Random random(5);
  const auto matrix = [&](WeightFormat format, std::uint32_t rows, std::uint32_t columns) {
    return std::make_unique<GuardedMatrix>(format, rows, columns, Blocks::kRandom, random);
  };
  for (std::uint32_t layer = 0; layer < shape.layers; ++layer)
    routers_.push_back(matrix(WeightFormat::kF32, shape.experts, shape.embedding));
  for (std::uint32_t i = 0; i < shape.all_experts(); ++i) {
    gate_.push_back(matrix(WeightFormat::kQ8_0, shape.expert_ff, shape.embedding));
    up_.push_back(matrix(WeightFormat::kQ8_0, shape.expert_ff, shape.embedding));
    down_.push_back(matrix(WeightFormat::kQ5_1, shape.embedding, shape.expert_ff));
  }
  ffn_.experts = shape.experts;
  ffn_.embedding = shape.embedding;
  ffn_.width = shape.expert_ff;
}

runtime::ExpertWeights MoeModel::expert(std::uint32_t number) const {
  return {gate_[number]->view(), up_[number]->view(), down_[number]->view()};
}

runtime::RouterSpec MoeModel::router_spec() const {
  return {.experts = shape_.experts, .used = shape_.used};
}

std::vector<float> MoeModel::forward(std::vector<float> hidden) const {
  for (std::uint32_t layer = 0; layer < shape_.layers; ++layer)
    for (std::uint32_t row = 0; row < shape_.rows; ++row)
      run_layer(layer, &hidden[std::size_t{row} * shape_.embedding]);
  return hidden;
}

void MoeModel::run_layer(std::uint32_t layer, float* row) const {
  const std::uint32_t n = shape_.embedding;
  std::vector<float> normed(n);
  scalar_table().rms_norm(row, std::vector<float>(n, 1.0f).data(), n, kNormEpsilon, normed.data());
  const QuantizedRow x(normed.data(), n);
  std::vector<float> scores = product(router(layer), x.view());
  std::vector<std::uint16_t> ids(shape_.used);
  std::vector<float> weights(shape_.used);
  runtime::Router(router_spec(), {}).choose(scalar_table(), scores, {}, ids, weights);
  std::vector<float> sum = expert_out(layer * shape_.experts + ids[0], x.view());
  scalar_table().scale(weights[0], n, sum.data());
  for (std::uint32_t rank = 1; rank < shape_.used; ++rank)
    scalar_table().add_scaled(expert_out(layer * shape_.experts + ids[rank], x.view()).data(),
                              weights[rank], n, sum.data());
  scalar_table().add(sum.data(), n, row);
}

std::vector<float> MoeModel::expert_out(std::uint32_t number, const Activations& x) const {
  const runtime::ExpertWeights weights = expert(number);
  const std::vector<float> gate = product(weights.gate, x), up = product(weights.up, x);
  std::vector<float> hidden(shape_.expert_ff);
  scalar_table().silu_multiply(gate.data(), up.data(), shape_.expert_ff, hidden.data());
  return product(weights.down, QuantizedRow(hidden.data(), shape_.expert_ff).view());
}

}  // namespace hearth::sim
