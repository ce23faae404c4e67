#include "runtime/blocks/moe.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "runtime/blocks/linear.h"
#include "runtime/forced_routing.h"

namespace hearth::runtime {

using io::AsyncReader;
using kernels::ActivationBuffer;
using kernels::Activations;

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
      weights_(weights) {
  // Else a part would get the input of another.
  CHECK(!weights_.shared.present() ||
        weights_.shared_norm.present() == weights_.expert_norm.present());
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
    scratch.pair_order[work.end] = pair;
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

// Computes all experts that are here now and returns how many. Two parallel regions without a
// barrier between experts: hidden rows, then output rows.
std::uint32_t MoeBlock::compute_ready(Step& step) const {
  Scratch& scratch = step.scratch;
  scratch.ready_work.clear();
  for (ExpertWork& work : scratch.expert_work.items())
    if (work.can_compute()) scratch.ready_work.push_back(&work);
  const auto ready = static_cast<std::uint32_t>(scratch.ready_work.size());
  if (ready == 0) return 0;

  const std::uint32_t pairs = step.rows() * experts_used_;
  scratch.expert_hidden.set_shape(pairs, expert_ff_);
  const std::uint32_t hidden_chunks = (expert_ff_ + kExpertChunk - 1) / kExpertChunk;
  step.pool.run(ready * hidden_chunks, [&](std::uint32_t task, std::uint32_t worker) {
    hidden_chunk(step, *scratch.ready_work[task / hidden_chunks], task % hidden_chunks, worker);
  });
  step.experts.collect(AsyncReader::Wait::kNow);  // keeps the disk's queue filled
  const std::uint32_t down_chunks = (embedding_ + kDownChunk - 1) / kDownChunk;
  step.pool.run(ready * down_chunks, [&](std::uint32_t task, std::uint32_t) {
    down_chunk(step, *scratch.ready_work[task / down_chunks], task % down_chunks);
  });
  for (ExpertWork* work : scratch.ready_work) work->computed = true;
  return ready;
}

namespace {

struct GatherOptions {
  std::uint32_t pairs_per_row = 1;
  bool with_values = false;  // else codes alone
  bool weighed = false;      // by the weight of the pair
};

// The input rows of pairs [begin, begin + count): one row as it lies, several gathered into a tile.
// A weight multiplies values and scales; the codes stay.
Activations gather(const Step& step, ActivationBuffer& tile, std::uint32_t begin,
                   std::uint32_t count, const GatherOptions& options) {
  const Scratch& scratch = step.scratch;
  ActivationBuffer& normed = step.scratch.normed;
  const auto row_of = [&](std::uint32_t i) {
    return scratch.pair_order[begin + i] / options.pairs_per_row;
  };
  if (count == 1 && !options.weighed) return kernels::slice_rows(normed.view(), row_of(0), 1);
  tile.set_shape(count, normed.columns());
  const std::uint32_t stride = normed.stride();
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t row = row_of(i);
    if (options.with_values)
      std::memcpy(tile.values(i), normed.values(row), stride * sizeof(float));
    std::memcpy(tile.codes(i), normed.codes(row), stride);
    std::memcpy(tile.scales(i), normed.scales(row), stride / 32 * sizeof(float));
    std::memcpy(tile.sums(i), normed.sums(row), stride / 16 * sizeof(std::int16_t));
    if (!options.weighed) continue;
    const float weight = scratch.expert_weights[scratch.pair_order[begin + i]];
    if (options.with_values) step.kernels.scale(weight, stride, tile.values(i));
    step.kernels.scale(weight, stride / 32, tile.scales(i));
  }
  return tile.view();
}

void multiply(const Step& step, const kernels::WeightMatrix& weights, kernels::RowRange rows,
              const Activations& x, float* out, std::size_t stride) {
  step.kernels.matmul[static_cast<std::size_t>(weights.format)](weights, rows, x, out, stride);
}

}  // namespace

// activation(gate · x) × (up · x) for kExpertChunk hidden values of all rows of one expert,
// quantized at once: a chunk is whole activation blocks.
void MoeBlock::hidden_chunk(Step& step, const ExpertWork& work, std::uint32_t chunk,
                            std::uint32_t worker) const {
  const kernels::CpuKernels& k = step.kernels;
  ActivationBuffer& hidden = step.scratch.expert_hidden;
  const ExpertWeights expert = work.lease.weights();
  const kernels::RowRange range{chunk * kExpertChunk,
                                std::min((chunk + 1) * kExpertChunk, expert_ff_)};
  const std::uint32_t width = range.end - range.begin;
  const GatherOptions options{
      .pairs_per_row = experts_used_,
      .with_values = !kernels::takes_quantized_activations(expert.gate.format) ||
                     !kernels::takes_quantized_activations(expert.up.format),
      .weighed = options_.weighs_inputs};
  const auto activate = gated(k, options_.activation);
  float* const gate = step.scratch.tile_out[worker].data();
  float* const up = gate + kExpertTileRows * kExpertChunk;
  for (std::uint32_t begin = work.begin; begin < work.end; begin += kExpertTileRows) {
    const std::uint32_t count = std::min(kExpertTileRows, work.end - begin);
    const Activations x = gather(step, step.scratch.tiles[worker], begin, count, options);
    multiply(step, expert.gate, range, x, gate, kExpertChunk);
    multiply(step, expert.up, range, x, up, kExpertChunk);
    for (std::uint32_t i = 0; i < count; ++i) {
      float* const gate_row = gate + i * kExpertChunk;
      float* const up_row = up + i * kExpertChunk;
      if (weights_.gate_scale.present())
        k.scale(weights_.gate_scale.data()[work.id.index], width, gate_row);
      if (weights_.up_scale.present())
        k.scale(weights_.up_scale.data()[work.id.index], width, up_row);
      if (weights_.gate_bias.present())
        k.add(weights_.gate_bias.row(work.id.index) + range.begin, width, gate_row);
      if (weights_.up_bias.present())
        k.add(weights_.up_bias.row(work.id.index) + range.begin, width, up_row);
      const std::uint32_t row = begin + i;
      float* const values = hidden.values(row) + range.begin;
      activate(gate_row, up_row, width, values);
      k.quantize(values, width, hidden.codes(row) + range.begin,
                 hidden.scales(row) + range.begin / 32, hidden.sums(row) + range.begin / 16);
    }
  }
}

void MoeBlock::down_chunk(Step& step, const ExpertWork& work, std::uint32_t chunk) const {
  const kernels::WeightMatrix down = work.lease.weights().down;
  const kernels::RowRange range{chunk * kDownChunk, std::min((chunk + 1) * kDownChunk, embedding_)};
  const std::uint32_t count = work.end - work.begin;
  float* const out =
      step.scratch.expert_out.data() + std::size_t{work.begin} * embedding_ + range.begin;
  multiply(step, down, range,
           kernels::slice_rows(step.scratch.expert_hidden.view(), work.begin, count), out,
           embedding_);
  const std::uint32_t width = range.end - range.begin;
  for (std::uint32_t i = 0; i < count; ++i) {
    float* const row = out + std::size_t{i} * embedding_;
    if (weights_.down_scale.present())
      step.kernels.scale(weights_.down_scale.data()[work.id.index], width, row);
    if (weights_.down_bias.present())
      step.kernels.add(weights_.down_bias.row(work.id.index) + range.begin, width, row);
  }
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
