#include "runtime/gpu/device_scratch.h"

#include <algorithm>

#include "kernels/arithmetic.h"
#include "kernels/gpu/attention.h"

namespace hearth::runtime {
namespace {

std::uint32_t padded(std::uint32_t columns) {
  return static_cast<std::uint32_t>(round_up(columns, kernels::kActivationPadding));
}

// States of a row that steps of up to so many rows leave.
std::uint64_t attention_states_of(std::uint32_t rows) {
  return kernels::attend_state_floats(rows, 1, 0) / 2;
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

DeviceExpertLists::DeviceExpertLists(const ScratchShape& s, DeviceArena& arena)
    : resolved(std::min(s.rows, kernels::kMostProductRows) * s.experts_used),
      embedding(s.embedding) {
  const std::uint32_t pairs = s.rows * s.experts_used;
  hits = arena.take<kernels::ExpertJob>(std::max(resolved, s.experts));
  fetched = arena.take<kernels::ExpertJob>(resolved);
  fetches = arena.take<kernels::ExpertFetch>(resolved);
  x_rows = arena.take<std::uint32_t>(pairs);
  x_weights = arena.take<float>(pairs);
  results = arena.take<const float*>(pairs);
  outputs = arena.take<float>(std::uint64_t{pairs} * embedding);
  fetch_limits = arena.take<std::uint32_t>(resolved + 1);
  fetch_count = arena.take<std::uint32_t>(1);
  host_jobs = arena.take<kernels::LaneJob>(resolved);
  host_count = arena.take<std::uint32_t>(1);
  nothing = arena.take<float>(embedding);
}

void DeviceExpertLists::reset(kernels::Stream& stream) const {
  stream.fill(fetch_limits, 0, Bytes((resolved + 1) * sizeof(std::uint32_t)));
  stream.fill(nothing, 0, Bytes(embedding * sizeof(float)));
}

void DeviceExpertLists::give_to(kernels::ResolveTask& task) const {
  task.fetch_limits = fetch_limits;
  task.hits = hits;
  task.fetched = fetched;
  task.fetches = fetches;
  task.fetch_count = fetch_count;
  task.host_jobs = host_jobs;
  task.host_count = host_count;
  task.x_rows = x_rows;
  task.x_weights = x_weights;
  task.results = results;
  task.on_device = {.rows = outputs, .stride = embedding};
  task.on_host = {.rows = nothing};
  task.nothing = nothing;
}

DeviceScratch::DeviceScratch(const ScratchShape& s, const DeviceNeeds& needs, DeviceArena& arena)
    : shape(s), lists(s, arena) {
  const std::uint64_t rows = s.rows;
  const std::uint32_t pairs = s.rows * s.experts_used;
  hidden = arena.take<float>(rows * s.embedding);
  normed = DeviceActivations(s.rows, s.embedding, arena);
  shared_normed = DeviceActivations(s.rows, needs.normed_apart ? s.embedding : 0, arena);
  expert_normed = DeviceActivations(s.rows, needs.normed_apart ? s.embedding : 0, arena);
  projected = arena.take<float>(rows * s.projections);
  attended = DeviceActivations(s.rows, s.attention_width, arena);
  attention_states = arena.take<float>(attention_states_of(s.rows) * s.attention_states);
  heads = DeviceActivations(s.rows * needs.product_heads, needs.product_columns, arena);
  recurrent = arena.take<float>(rows * needs.recurrent_floats);
  block_out = arena.take<float>(rows * s.embedding);
  shared_out = arena.take<float>(rows * s.embedding);
  router_scores = arena.take<float>(rows * (s.experts + 1));
  expert_hidden = DeviceActivations(pairs, s.expert_ff, arena);
  expert_gates = arena.take<float>(std::uint64_t{pairs} * needs.expert_gate_columns);
  expert_ids = arena.take<std::uint16_t>(pairs);
  expert_weights = arena.take<float>(pairs);
  candidates =
      arena.take<kernels::Candidate>(kernels::sample_scratch(s.logit_rows, s.vocabulary, 1));
  logits = arena.take<float>(std::uint64_t{s.logit_rows} * s.vocabulary);
}

}  // namespace hearth::runtime
