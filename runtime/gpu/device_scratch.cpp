#include "runtime/gpu/device_scratch.h"

#include "kernels/arithmetic.h"
#include "kernels/gpu/attention.h"

namespace hearth::runtime {
namespace {

std::uint32_t padded(std::uint32_t columns) {
  return static_cast<std::uint32_t>(round_up(columns, kernels::kActivationPadding));
}

}  // namespace

DeviceActivations::DeviceActivations(std::uint32_t most_rows, std::uint32_t most_columns,
                                     DeviceArena& arena) {
  const std::uint64_t count = std::uint64_t{most_rows} * padded(most_columns);
  values_ = arena.take<float>(count);
  codes_ = arena.take<std::int8_t>(count);
  scales_ = arena.take<float>(count / 32);
  sums_ = arena.take<std::int16_t>(count / 16);
}

kernels::QuantizeTask::Destination DeviceActivations::shaped(std::uint32_t rows,
                                                             std::uint32_t columns) const {
  return {.rows = rows,
          .columns = columns,
          .stride = padded(columns),
          .values = values_,
          .codes = codes_,
          .scales = scales_,
          .sums = sums_};
}

DeviceScratch::DeviceScratch(const ScratchShape& s, const DeviceNeeds& needs, DeviceArena& arena)
    : shape(s) {
  const std::uint64_t rows = s.rows;
  const std::uint32_t pairs = s.rows * s.experts_used;
  hidden = arena.take<float>(rows * s.embedding);
  normed = DeviceActivations(s.rows, s.embedding, arena);
  projected = arena.take<float>(rows * s.projections);
  attended = DeviceActivations(s.rows, s.attention_width, arena);
  attention_states =
      arena.take<float>(kernels::kMaxAttentionChunks * rows * s.attention_states);
  heads = DeviceActivations(s.rows * needs.product_heads, needs.product_columns, arena);
  block_out = arena.take<float>(rows * s.embedding);
  router_scores = arena.take<float>(rows * s.experts);
  expert_hidden = DeviceActivations(pairs, s.expert_ff, arena);
  expert_out = arena.take<float>(std::uint64_t{pairs} * s.embedding);
  logits = arena.take<float>(rows * s.vocabulary);
}

}  // namespace hearth::runtime
