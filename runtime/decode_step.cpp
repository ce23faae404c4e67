#include "runtime/decode_step.h"

#include <algorithm>

#include "base/error.h"
#include "runtime/blocks/linear.h"

namespace hearth::runtime {
namespace {

void embed(const Model& model, const Step& step) {
  const kernels::WeightMatrix& table = *model.token_embedding;
  for (std::uint32_t row = 0; row < step.rows(); ++row) {
    step.kernels.dequantize[static_cast<std::size_t>(table.format)](
        table.row(static_cast<std::uint32_t>(step.tokens[row])), table.columns, step.hidden(row));
    if (model.embedding_scale != 1)
      step.kernels.scale(model.embedding_scale, table.columns, step.hidden(row));
  }
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
      const std::span<float> row{logits + std::size_t{i} * vocabulary, vocabulary};
      if (!step.kernels.all_finite(row.data(), vocabulary))
        throw_not_finite(step.position + begin + i);
      if (model.logit_softcap > 0)
        step.kernels.softcap(row.data(), vocabulary, model.logit_softcap);
      sink(begin + i, row);
    }
    begin += count;
  }
  step.times.head += step.clock.now() - start;
}

}  // namespace

void throw_not_finite(std::uint32_t position) {
  throw_error(ErrorCode::kNumerics,
              "the logits at position {} are not finite; the model file is damaged or its weights "
              "overflow",
              position);
}

void decode_step(const Model& model, Step& step, std::uint32_t first_logits_row, LogitsSink sink) {
  const Nanoseconds start = step.clock.now();
  step.experts.begin_step();
  step.prefetcher.begin_step(step.rows());
  embed(model, step);
  fill_rotary(model.rotary, {.position = step.position,
                             .rows = step.rows(),
                             .cosine = step.scratch.rope_cosine.data(),
                             .sine = step.scratch.rope_sine.data()});
  for (const Layer& layer : model.layers)
    for (const auto& block : layer.blocks) block->run(step);
  output_logits(model, step, first_logits_row, sink);
  const Nanoseconds total = step.clock.now() - start;
  step.times.total += total;
  step.prefetcher.end_step(total);
}

}  // namespace hearth::runtime
