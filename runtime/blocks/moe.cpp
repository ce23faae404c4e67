#include "runtime/blocks/moe.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "runtime/blocks/linear.h"
#include "runtime/forced_routing.h"

namespace hearth::runtime {

using io::AsyncReader;

MoeBlock::MoeBlock(LayerIndex layer, const ModelConfig& config, const Options& options,
                   const Weights& weights)
    : layer_(layer),
      embedding_(config.embedding),
      experts_(options.router.experts),
      experts_used_(options.router.used),
      expert_ff_(options.expert_ff),
      epsilon_(config.rms_epsilon),
      options_(options),
      router_(options.router, weights.router),
      weights_(weights),
      expert_ffn_{.experts = options.router.experts,
                  .embedding = config.embedding,
                  .width = options.expert_ff,
                  .activation = options.activation,
                  .weighs_inputs = options.weighs_inputs,
                  .gate_scale = weights.gate_scale,
                  .up_scale = weights.up_scale,
                  .down_scale = weights.down_scale,
                  .gate_bias = weights.gate_bias,
                  .up_bias = weights.up_bias,
                  .down_bias = weights.down_bias} {
  // Else a part would get the input of another.
  CHECK(!weights_.shared.present() ||
        weights_.shared_norm.present() == weights_.expert_norm.present());
  CHECK(!weights_.shared_gate.present() || !weights_.shared_norm.present());  // one input
}

void MoeBlock::state_needs(ScratchShape& scratch, KvLayer&) const {
  ScratchShape::raise(scratch.experts, experts_);
  ScratchShape::raise(scratch.experts_used, experts_used_);
  ScratchShape::raise(scratch.expert_ff, expert_ff_);
  if (router_.selects_apart()) ScratchShape::raise(scratch.router_selection, experts_);
  if (weights_.shared.present()) ffn_needs(weights_.shared, scratch);
}

void MoeBlock::run(Step& step) const {
  const Nanoseconds start = step.clock.now();
  enter(step, weights_.norm);
  const profiler::Routing routing = route(step);
  step.experts.observe(routing);
  step.on_routed(routing);
  ExpertWorkList& work = step.scratch.expert_work;
  work.begin(routing, step.experts);
  group_by_expert(step, routing);
  try {
    work.advance(step.experts);  // the longest lane starts first
    prefetch_next(step);         // behind the demands, so it never delays one
    if (weights_.shared.present()) run_shared(step);
    enter(step, weights_.expert_norm);
    compute_as_they_arrive(step);
  } catch (...) {
    work.clear();
    throw;
  }
  work.clear();
  combine(step, routing);
  if (weights_.output_norm.present())
    normalize_block_out(step, weights_.output_norm.data(), epsilon_);
  add_block_out(step);
  step.times.experts += step.clock.now() - start;
}

// What a part of the block gets: what the one before got, if it has no norm of its own.
void MoeBlock::enter(const Step& step, const WeightVector& norm) const {
  if (norm.present()) normalize(step, norm.data(), epsilon_, {0, step.rows()});
}

profiler::Routing MoeBlock::route(Step& step) const {
  Scratch& scratch = step.scratch;
  project(step, scratch.normed.view(), {{router_.matrix(), scratch.router_scores.data()}},
          experts_);
  for (std::uint32_t row = 0; row < step.rows(); ++row) {
    const std::size_t first = std::size_t{row} * experts_used_;
    router_.choose(step.kernels,
                   scratch.router_scores.subspan(std::size_t{row} * experts_, experts_),
                   scratch.router_selection, scratch.expert_ids.subspan(first, experts_used_),
                   scratch.expert_weights.subspan(first, experts_used_));
  }
  const std::size_t pairs = std::size_t{step.rows()} * experts_used_;
  if (step.forced_routing != nullptr)
    step.forced_routing->replace(layer_, step.position, scratch.expert_ids.first(pairs),
                                 scratch.expert_weights.first(pairs));
  return {.layer = layer_,
          .rows = step.rows(),
          .experts_per_row = experts_used_,
          .experts = scratch.expert_ids.first(pairs),
          .weights = scratch.expert_weights.first(pairs),
          .position = step.position};
}

// Sorts the (row, rank) pairs by expert, so that the rows of an expert are neighbours in
// expert_hidden and expert_out.
void MoeBlock::group_by_expert(Step& step, const profiler::Routing& routing) const {
  Scratch& scratch = step.scratch;
  const std::span<ExpertWork> items = scratch.expert_work.items();
  for (std::uint32_t i = 0; i < items.size(); ++i) scratch.expert_place[items[i].id.index] = i;
  const auto work_of = [&](std::uint16_t expert) -> ExpertWork& {
    return items[scratch.expert_place[expert]];
  };
  for (const std::uint16_t expert : routing.experts) work_of(expert).end += 1;
  std::uint32_t begin = 0;
  for (ExpertWork& work : items) {
    work.begin = begin;
    begin += std::exchange(work.end, begin);
  }
  for (std::uint32_t pair = 0; pair < routing.experts.size(); ++pair) {
    ExpertWork& work = work_of(routing.experts[pair]);
    scratch.pair_rows[work.end] = pair / experts_used_;
    scratch.pair_weights[work.end] = routing.weights[pair];
    scratch.pair_place[pair] = work.end++;
  }
}

// The next layer's router on this layer's router input guesses the next layer's experts. Those that
// many rows want come first. Where routers have norms of their own, the next one's goes with it.
void MoeBlock::prefetch_next(Step& step) const {
  if (next_ == nullptr || !step.prefetcher.wanted()) return;
  Scratch& scratch = step.scratch;
  const Router& router = next_->router_;
  const std::uint32_t experts = router.spec().experts;
  if (weights_.expert_norm.present()) enter(step, next_->weights_.norm);
  project(step, scratch.normed.view(), {{router.matrix(), scratch.router_scores.data()}}, experts);
  step.prefetcher.begin_prediction(experts);
  for (std::uint32_t row = 0; row < step.rows(); ++row)
    step.prefetcher.predict_row(
        router.rank(step.kernels,
                    scratch.router_scores.subspan(std::size_t{row} * experts, experts),
                    scratch.router_selection),
        router.spec().used);
  step.prefetcher.fetch_predicted(next_->layer_);
}

// Into block_out, while the reader is busy with the experts.
void MoeBlock::run_shared(Step& step) const {
  enter(step, weights_.shared_norm);
  run_ffn(step, weights_.shared, options_.activation);
  if (weights_.shared_gate.present()) {
    const std::span<float> gates = step.scratch.router_scores.first(step.rows());
    project(step, step.scratch.normed.view(), {{weights_.shared_gate.matrix, gates.data()}}, 1);
    step.kernels.sigmoid(gates.data(), step.rows());
    for (std::uint32_t row = 0; row < step.rows(); ++row)
      step.kernels.scale(gates[row], embedding_, step.block_out(row));
  }
  if (weights_.shared_output_norm.present())
    normalize_block_out(step, weights_.shared_output_norm.data(), epsilon_);
}

void MoeBlock::compute_as_they_arrive(Step& step) const {
  ExpertWorkList& work = step.scratch.expert_work;
  std::size_t left = work.items().size();
  while (true) {
    step.experts.collect(AsyncReader::Wait::kNow);
    left -= compute_ready(step);
    if (left == 0) return;
    work.advance(step.experts);
    if (std::ranges::any_of(work.items(), &ExpertWork::can_compute)) continue;
    CHECK(step.experts.reading());  // else nothing would ever arrive
    step.experts.collect(AsyncReader::Wait::kOne);
  }
}

// Computes all experts that are here now and returns how many.
std::uint32_t MoeBlock::compute_ready(Step& step) const {
  Scratch& scratch = step.scratch;
  scratch.ready_work.clear();
  for (ExpertWork& work : scratch.expert_work.items()) {
    if (!work.can_compute()) continue;
    work.computed = true;  // at the end of this function, before which no lease is given back
    scratch.ready_work.push_back({.weights = work.lease.weights(),
                                  .index = work.id.index,
                                  .begin = work.begin,
                                  .end = work.end});
  }
  if (scratch.ready_work.empty()) return 0;
  scratch.expert_hidden.set_shape(step.rows() * experts_used_, expert_ff_);
  compute_experts(
      step.kernels, step.pool, expert_ffn_,
      {.x = scratch.normed.view(),
       .x_rows = scratch.pair_rows.data(),
       .x_weights = scratch.pair_weights.data(),
       .out = scratch.expert_out.data()},
      {scratch.expert_hidden, scratch.tiles, scratch.tile_out}, scratch.ready_work,
      [&] { step.experts.collect(AsyncReader::Wait::kNow); });  // fills the disk's queue
  return static_cast<std::uint32_t>(scratch.ready_work.size());
}

// Sums in router order, rank 0 to k-1, so that the order of arrival never changes a rounding, where
// rank 0 lies. What the shared expert gave is in block_out already.
void MoeBlock::combine(Step& step, const profiler::Routing& routing) const {
  const kernels::CpuKernels& k = step.kernels;
  for_rows(step, step.rows(), [&](std::uint32_t row, std::uint32_t) {
    const std::size_t first = std::size_t{row} * experts_used_;
    const auto result = [&](std::uint32_t rank) {
      return step.scratch.expert_out.data() +
             std::size_t{step.scratch.pair_place[first + rank]} * embedding_;
    };
    const auto weight = [&](std::uint32_t rank) {
      return options_.weighs_inputs ? 1.0f : routing.weights[first + rank];
    };
    float* const sum = result(0);
    k.scale(weight(0), embedding_, sum);
    for (std::uint32_t rank = 1; rank < experts_used_; ++rank)
      k.add_scaled(result(rank), weight(rank), embedding_, sum);
    if (weights_.expert_output_norm.present())
      k.rms_norm(sum, weights_.expert_output_norm.data(), embedding_, epsilon_, sum);
    if (weights_.shared.present())
      k.add(sum, embedding_, step.block_out(row));
    else
      std::copy_n(sum, embedding_, step.block_out(row));
  });
}

}  // namespace hearth::runtime
