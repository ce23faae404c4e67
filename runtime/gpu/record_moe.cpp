// MoeBlock on a device.
#include <array>

#include "runtime/blocks/moe.h"
#include "runtime/gpu/chunk_experts.h"
#include "runtime/gpu/device_needs.h"
#include "runtime/gpu/device_step.h"
#include "runtime/gpu/record_ffn.h"

namespace hearth::runtime {

using kernels::Activations;
using kernels::GpuKernels;
using kernels::OutputTerms;
using kernels::QuantizeTask;

class RecordedMoe {
 public:
  RecordedMoe(const MoeBlock& block, DeviceStep& step)
      : b_(block), w_(block.weights_), step_(step), pairs_(step.rows * block.experts_used_) {}

  void run() const {
    const Inputs x = enter();
    score(x.router);
    choose();
    if (step_.chunk != nullptr)
      compute_grouped(x);
    else
      compute_resolved(x);
    give();
  }

 private:
  struct Inputs {
    Activations router, shared, experts;
    Activations next_router;  // what the next layer's router guesses from
  };
  struct Jobs {
    const kernels::ExpertJob* first = nullptr;
    std::uint32_t count = 0;
  };

  void compute_resolved(const Inputs& x) const {
    if (step_.lanes != nullptr) fork(x.experts);
    if (guesses()) guess_next(x.next_router);
    step_.mark(b_.layer_, LaneMoment::kBegins);
    FfnProducts products;
    if (w_.shared.present()) add_shared(x.shared, products);
    add_experts(x.experts, {step_.scratch.lists.hits, pairs_}, products);
    record(step_, products);
    step_.mark(b_.layer_, LaneMoment::kHitsDone);
    if (step_.lanes != nullptr) join(x.experts);
  }

  // What has a slot is there at once, the rest comes in waves.
  void compute_grouped(const Inputs& x) const {
    const kernels::ExpertJob* const jobs = step_.scratch.lists.hits;
    const std::uint32_t resident = step_.chunk->resident(b_.layer_);
    FfnProducts products;
    if (w_.shared.present()) add_shared(x.shared, products);
    if (resident > 0) add_experts(x.experts, {jobs, resident}, products);
    record(step_, products);
    for (const ChunkExperts::Wave& wave : step_.chunk->waves(b_.layer_)) {
      step_.chunk->bring(b_.layer_, wave);
      run_experts(x.experts, {jobs + wave.first, wave.count});
      step_.chunk->computed(wave);
    }
  }

  // All norms of the block are of the same stream.
  Inputs enter() const {
    const std::uint32_t columns = step_.embedding();
    std::array<kernels::NormedOutput, kernels::kMostNormedOutputs> norms;
    std::size_t count = 0;
    const auto norm = [&](const WeightVector& weight, const DeviceActivations& memory) {
      const auto to = memory.shaped(step_.rows, columns);
      norms[count++] = {.weight = step_.weights.of(weight), .to = to};
      return QuantizeTask{.to = to}.result();
    };
    Inputs x;
    x.router = x.shared = x.experts = norm(w_.norm, step_.scratch.normed);
    if (w_.shared_norm.present()) x.shared = norm(w_.shared_norm, step_.scratch.shared_normed);
    if (w_.expert_norm.present()) x.experts = norm(w_.expert_norm, step_.scratch.expert_normed);
    x.next_router = x.router;
    if (guesses() && w_.expert_norm.present())
      x.next_router = norm(b_.next_->weights_.norm, step_.prefetch->scratch().normed);
    step_.enter(b_.epsilon_, std::span(norms).first(count),
                step_.ahead({b_.router_.weights().matrix}));
    return x;
  }

  void score(const Activations& x) const {
    step_.multiply(x,
                   {{b_.router_.weights().matrix, step_.scratch.router_scores},
                    {w_.shared_gate.matrix, gates()}},
                   scores_stride());
  }

  // A row of scores ends with the gate of what all tokens pass.
  float* gates() const { return step_.scratch.router_scores + b_.experts_; }
  std::uint32_t scores_stride() const { return b_.experts_ + 1; }

  // The experts of each row, and who computes them.
  void choose() const {
    const bool resolved = step_.chunk == nullptr && step_.host_cache == nullptr;
    if (resolved && step_.rows == 1)
      return step_.launch(&GpuKernels::route_and_resolve,
                          {.route = route_task(),
                           .resolve = resolve_task(),
                           .ahead = step_.ahead({w_.shared.gate, w_.shared.up, w_.shared.down})});
    step_.launch(&GpuKernels::route, route_task());
    if (resolved)
      step_.launch(&GpuKernels::resolve, resolve_task());
    else if (step_.chunk != nullptr)
      group();
    else
      resolve_on_host(resolve_task());
  }

  kernels::RouteTask route_task() const {
    const DeviceScratch& scratch = step_.scratch;
    const RouterWeights& router = b_.router_.weights();
    return {.spec = b_.router_.spec(),
            .rows = step_.rows,
            .logits = scratch.router_scores,
            .logit_stride = scores_stride(),
            .bias = step_.weights.of(router.bias),
            .selection_bias = step_.weights.of(router.selection_bias),
            .ids = scratch.expert_ids,
            .weights = scratch.expert_weights,
            .faults = step_.outputs.router_faults(),
            .forced = step_.forced ? step_.inputs.forced(b_.layer_) : kernels::ForcedRoutes{},
            .record = {.ids = step_.outputs.chosen(b_.layer_),
                       .weights = step_.outputs.chosen_weights(b_.layer_),
                       .steps = 1,
                       .step = step_.inputs.position()}};
  }

  kernels::ResolveTask resolve_task() const {
    kernels::ResolveTask task = step_.experts.task(b_.layer_);
    step_.scratch.lists.give_to(task);
    task.rows = step_.rows;
    task.experts_used = b_.experts_used_;
    task.step = step_.inputs.number();
    task.ids = step_.scratch.expert_ids;
    task.weights = step_.scratch.expert_weights;
    task.faults = step_.outputs.expert_faults();
    if (step_.lanes != nullptr) {
      task.fetch_limits = step_.lanes->fetch_limits(b_.layer_);
      task.most_fetches = pairs_;
      task.on_host = {.rows = step_.lanes->block().results, .stride = step_.embedding()};
    }
    return task;
  }

  // The tables and the limits of the task are the host's then.
  void resolve_on_host(kernels::ResolveTask task) const {
    task.step = step_.inputs.number_on_host();
    task.ids = step_.outputs.chosen(b_.layer_);
    task.weights = step_.outputs.chosen_weights(b_.layer_);
    step_.host_cache->resolve(task, step_.stream);
  }

  void group() const {
    const DeviceExpertLists& lists = step_.scratch.lists;
    step_.launch(&GpuKernels::group,
                 {.rows = step_.rows,
                  .experts_used = b_.experts_used_,
                  .ids = step_.scratch.expert_ids,
                  .weights = step_.scratch.expert_weights,
                  .experts = step_.chunk->experts(b_.layer_),
                  .expert_count = b_.experts_,
                  .layout = step_.experts.task(b_.layer_).layout,
                  .jobs = lists.hits,
                  .x_rows = lists.x_rows,
                  .x_weights = lists.x_weights,
                  .results = lists.results,
                  .faults = step_.outputs.expert_faults(),
                  .outputs = {.rows = lists.outputs, .stride = step_.embedding()},
                  .nothing = lists.nothing});
  }

  // The link and the CPU begin with what is not on the device.
  void fork(const Activations& x) const {
    const DeviceLanes& lanes = *step_.lanes;
    const DeviceExpertLists& lists = step_.scratch.lists;
    step_.launch(&GpuKernels::hand_over,
                 {.jobs = lists.host_jobs,
                  .job_count = lists.host_count,
                  .x_rows = lists.x_rows,
                  .x_weights = b_.options_.weighs_inputs ? lists.x_weights : nullptr,
                  .x = x,
                  .to = lanes.block(),
                  .stamp = kernels::lane_stamp(b_.layer_)});
    lanes.begin_link(step_.stream);
    if (step_.times != nullptr)
      step_.times->mark(lanes.link(), b_.layer_, LaneMoment::kGatherBegins);
    if (step_.host_cache != nullptr)
      step_.host_cache->fetch(lanes.link());
    else
      gather(lists);
    if (step_.times != nullptr) step_.times->mark(lanes.link(), b_.layer_, LaneMoment::kGathered);
    lanes.end_link();
  }

  void gather(const DeviceExpertLists& lists) const {
    step_.kernels.gather({.fetches = lists.fetches,
                          .count = lists.fetch_count,
                          .most = pairs_,
                          .layout = step_.experts.task(b_.layer_).layout},
                         step_.lanes->link().native());
  }

  bool guesses() const { return step_.prefetch != nullptr && b_.next_ != nullptr; }

  // The next layer's router on `x`, beside all else, and behind the fetches of this layer what it
  // guesses.
  void guess_next(const Activations& x) const {
    const DevicePrefetch& prefetch = *step_.prefetch;
    const PrefetchScratch& scratch = prefetch.scratch();
    const PrefetchScratch::List& list = scratch.lists[step_.guessed_layers++ % 2];
    const Router& router = b_.next_->router_;
    const RouterWeights& weights = router.weights();
    const kernels::NativeStream stream = step_.lanes->begin_guess().native();
    step_.kernels.product(step_.task_of(x, {weights.matrix, scratch.scores}, router.spec().experts),
                          stream);
    step_.kernels.route({.spec = router.spec(),
                         .rows = step_.rows,
                         .logits = scratch.scores,
                         .logit_stride = router.spec().experts,
                         .bias = step_.weights.of(weights.bias),
                         .selection_bias = step_.weights.of(weights.selection_bias),
                         .ids = scratch.ids,
                         .weights = scratch.weights},
                        stream);
    kernels::PrefetchTask task = step_.experts.prefetch_task(b_.next_->layer_);
    task.step = step_.inputs.number();
    task.rows = step_.rows;
    task.experts_used = router.spec().used;
    task.ids = scratch.ids;
    task.limits = step_.lanes->prefetch_limits(b_.next_->layer_);
    task.fetch_count = step_.scratch.lists.fetch_count;
    task.most = scratch.most;
    task.fetches = list.fetches;
    task.count = list.count;
    step_.kernels.prefetch(task, stream);
    prefetch.end();
    prefetch.wait(step_.lanes->link());
    step_.kernels.gather({.fetches = list.fetches,
                          .count = list.count,
                          .most = scratch.most,
                          .layout = step_.experts.task(b_.next_->layer_).layout},
                         step_.lanes->link().native());
  }

  // What was fetched is computed when it is there; the CPU's results are waited for last. What the
  // guess reads is written again after this layer.
  void join(const Activations& x) const {
    step_.lanes->wait_for_link(step_.stream);
    step_.mark(b_.layer_, LaneMoment::kLinkDone);
    run_experts(x, {step_.scratch.lists.fetched, pairs_});
    step_.mark(b_.layer_, LaneMoment::kFetchedDone);
    if (guesses()) step_.prefetch->wait(step_.stream);
    step_.lanes->wait_for_cpu(step_.stream, b_.layer_);
    step_.mark(b_.layer_, LaneMoment::kAllDone);
  }

  // What all tokens pass.
  void add_shared(const Activations& x, FfnProducts& to) const {
    add_ffn(step_, w_.shared, b_.options_.activation, x, step_.scratch.shared_out, to);
  }

  void run_experts(const Activations& x, const Jobs& jobs) const {
    FfnProducts products;
    add_experts(x, jobs, products);
    record(step_, products);
  }

  void add_experts(const Activations& x, const Jobs& jobs, FfnProducts& to) const {
    const LayerExperts& layer = step_.catalog.layer(b_.layer_);
    const auto hidden = step_.scratch.expert_hidden.shaped(pairs_, b_.expert_ff_);
    const auto& gate = layer.slab(ExpertMatrix::kGate);
    const auto& up = layer.slab(ExpertMatrix::kUp);
    const kernels::GatedActivation activation = gated(b_.options_.activation);
    const OutputTerms gate_terms = terms(w_.gate_scale, w_.gate_bias);
    const OutputTerms up_terms = terms(w_.up_scale, w_.up_bias);
    if (gate.format == up.format) {
      kernels::ProductTask task = product(jobs, gate, 0, gate_terms);
      read_tokens(x, task);
      task.matrices = 2;
      task.terms[1] = up_terms;
      task.activation = activation;
      task.hidden = hidden;
      add(task, to.hidden);
    } else {
      float* const gates = step_.scratch.expert_gates;
      const std::uint32_t stride = 2 * b_.expert_ff_;
      for (const std::uint32_t m : {0u, 1u}) {
        kernels::ProductTask task =
            m == 0 ? product(jobs, gate, m, gate_terms) : product(jobs, up, m, up_terms);
        read_tokens(x, task);
        task.y = gates + m * b_.expert_ff_;
        task.y_stride = stride;
        add(task, to.hidden);
      }
      to.gates[to.gate_count++] = {.activation = activation,
                                   .gate = {.x = gates, .stride = stride},
                                   .up = {.x = gates + b_.expert_ff_, .stride = stride},
                                   .to = hidden};
    }
    kernels::ProductTask down =
        product(jobs, layer.slab(ExpertMatrix::kDown), 2, terms(w_.down_scale, w_.down_bias));
    down.x = QuantizeTask{.to = hidden}.result();
    down.y = step_.scratch.lists.outputs;
    down.y_stride = step_.embedding();
    add(down, to.down);
  }

  // The product of each job with one of its matrices.
  kernels::ProductTask product(const Jobs& jobs, const ExpertSlab& slab, std::uint32_t matrix,
                               const OutputTerms& of_matrix) const {
    return {.format = slab.format,
            .rows = slab.rows,
            .columns = slab.columns,
            .jobs = jobs.first,
            .job_count = jobs.count,
            .job_matrix = matrix,
            .most_rows = step_.rows,
            .terms = {of_matrix}};
  }
  // Pairs read the row of their token, weighed or not.
  void read_tokens(const Activations& x, kernels::ProductTask& task) const {
    task.x = x;
    task.x_rows = step_.scratch.lists.x_rows;
    if (b_.options_.weighs_inputs) task.x_weights = step_.scratch.lists.x_weights;
  }
  OutputTerms terms(const WeightVector& scale, const WeightVector& bias) const {
    return {.scale = step_.weights.of(scale), .bias = step_.weights.of(bias)};
  }

  // What all tokens passed, and the experts, which are combined when they are added.
  void give() const {
    const DeviceScratch& scratch = step_.scratch;
    const kernels::BlockOutput experts{.x = scratch.block_out,
                                       .stride = step_.embedding(),
                                       .norm = step_.weights.of(w_.expert_output_norm)};
    step_.pending = {
        .experts = {.used = b_.experts_used_,
                    .results = scratch.lists.results,
                    .weights = b_.options_.weighs_inputs ? nullptr : scratch.expert_weights,
                    .sums = scratch.block_out,
                    .stride = step_.embedding(),
                    .done = step_.lanes != nullptr ? step_.lanes->cpu_done() : nullptr},
        .parts = {experts},
        .norm = step_.weights.of(w_.output_norm)};
    if (!w_.shared.present()) return;
    const bool gated = w_.shared_gate.present();
    const kernels::BlockOutput shared{.x = scratch.shared_out,
                                      .stride = step_.embedding(),
                                      .gate = gated ? gates() : nullptr,
                                      .gate_stride = scores_stride(),
                                      .norm = step_.weights.of(w_.shared_output_norm)};
    step_.pending.parts[0] = shared;
    step_.pending.parts[1] = experts;
  }

  const MoeBlock& b_;
  const MoeBlock::Weights& w_;
  DeviceStep& step_;
  const std::uint32_t pairs_;
};

void MoeBlock::device_needs(DeviceNeeds& needs) const {
  if (weights_.expert_norm.present()) needs.normed_apart = true;
  needs.routed.push_back({.layer = layer_, .experts = &expert_ffn_});
}

void MoeBlock::record(DeviceStep& step) const { RecordedMoe(*this, step).run(); }

}  // namespace hearth::runtime
