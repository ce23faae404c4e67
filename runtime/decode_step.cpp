#include "runtime/decode_step.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "runtime/blocks/linear.h"

namespace hearth::runtime {
namespace {

void embed(const Model& model, const Step& step) {
  const kernels::WeightMatrix& table = *model.token_embedding;
  for (std::uint32_t row = 0; row < step.rows(); ++row)
    step.kernels.dequantize[static_cast<std::size_t>(table.format)](
        table.row(static_cast<std::uint32_t>(step.tokens[row])), table.columns, step.hidden(row));
}

// Angles of the rotary embedding, once per step for all layers. In double, so that positions far
// out keep their precision and every machine gets the same f32 values.
void prepare_rotation(const ModelConfig& config, const Step& step) {
  const std::uint32_t half = config.rope_dims / 2;
  for (std::uint32_t i = 0; i < half; ++i) {
    const double frequency =
        std::pow(static_cast<double>(config.rope_base), -2.0 * i / config.rope_dims);
    for (std::uint32_t row = 0; row < step.rows(); ++row) {
      const double angle = frequency * (step.position + row);
      step.scratch.rope_cosine[std::size_t{row} * half + i] = static_cast<float>(std::cos(angle));
      step.scratch.rope_sine[std::size_t{row} * half + i] = static_cast<float>(std::sin(angle));
    }
  }
}

void check_finite(const Step& step, std::span<const float> logits, std::uint32_t row) {
  if (step.kernels.all_finite(logits.data(), static_cast<std::uint32_t>(logits.size()))) return;
  throw_error(ErrorCode::kNumerics,
              "the logits at position {} are not finite; the model file is damaged or its weights "
              "overflow",
              step.position + row);
}

void output_logits(const Model& model, const Step& step, std::uint32_t first_row, LogitsSink sink) {
  const Nanoseconds start = step.clock.now();
  const std::uint32_t vocabulary = model.config.vocabulary;
  float* const logits = step.scratch.logits.data();
  for (std::uint32_t begin = first_row; begin < step.rows();) {
    const std::uint32_t count = std::min(step.scratch.shape.logit_rows, step.rows() - begin);
    normalize(step, model.output_norm.data(), model.config.rms_epsilon, {begin, begin + count});
    project(step, step.scratch.normed.view(), {{model.output, logits}}, vocabulary);
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::span<const float> row{logits + std::size_t{i} * vocabulary, vocabulary};
      check_finite(step, row, begin + i);
      sink(begin + i, row);
    }
    begin += count;
  }
  step.times.head += step.clock.now() - start;
}

}  // namespace

void decode_step(const Model& model, Step& step, std::uint32_t first_logits_row, LogitsSink sink) {
  const Nanoseconds start = step.clock.now();
  step.experts.begin_step();
  step.prefetcher.begin_step(step.rows());
  embed(model, step);
  prepare_rotation(model.config, step);
  for (const Layer& layer : model.layers)
    for (const auto& block : layer.blocks) block->run(step);
  output_logits(model, step, first_logits_row, sink);
  const Nanoseconds total = step.clock.now() - start;
  step.times.total += total;
  step.prefetcher.end_step(total);
}

}  // namespace hearth::runtime
