#include "tools/hearth/doctor_gpu_layer.h"

#include <utility>
#include <vector>

#include "base/check.h"
#include "kernels/kv/kv_format.h"

namespace hearth::tools {
namespace {

using kernels::Activations;
using kernels::KvPart;
using kernels::QuantizeTask;

constexpr std::uint32_t kColumns = 2048, kMatrixRows = 64;
constexpr std::uint32_t kHeads = 32, kKvHeads = 4, kHeadDim = 128;
constexpr std::uint32_t kExperts = 128, kUsed = 8;
constexpr std::uint32_t kExpertColumns = 768;
constexpr auto kFormat = kernels::WeightFormat::kF16;
constexpr auto kKvFormat = kernels::KvFormat::kF16;
constexpr std::size_t kAlignment = 256;

kernels::KvMemory cache(KvPart part, std::byte* tiles) {
  return {
      .layout = kernels::kv_layout(kKvFormat, part, kHeadDim), .tiles = tiles, .tiles_per_head = 1};
}

}  // namespace

// All zeros: no number that takes another time, and expert 0 for all.
GpuLayerWork::GpuLayerWork(kernels::DeviceBuffer memory, const kernels::GpuKernels& kernels,
                           kernels::Stream& stream)
    : kernels_(kernels), stream_(stream), memory_(std::move(memory)) {
  stream_.fill(memory_.data(), 0, memory_.size());
  weights_ = take<std::byte>(std::size_t{2} * kMatrixRows * kColumns);
  residual_ = take<float>(kColumns);
  added_ = take<float>(kColumns);
  norm_ = take<float>(kColumns);
  heads_ = take<float>(std::size_t{kHeads + 2 * kKvHeads} * kHeadDim);
  out_ = take<float>(std::size_t{kUsed} * kColumns);
  turns_ = take<float>(kHeadDim);
  states_ = take<float>(kernels::attend_state_floats(1, kHeads, kHeadDim));
  rank_weights_ = take<float>(kUsed);
  ids_ = take<std::uint16_t>(kUsed);
  zeros_ = take<std::uint32_t>(kUsed);
  normed_ = activations(1, kColumns);
  attended_ = activations(1, kHeads * kHeadDim);
  hidden_ = activations(kUsed, kExpertColumns);
  for (auto [part, memory_of] : {std::pair(KvPart::kKeys, &keys_), {KvPart::kValues, &values_}})
    *memory_of = cache(part, take<std::byte>(kKvHeads * kv_tile_bytes(kKvFormat, part, kHeadDim)));
  jobs_ = take<kernels::ExpertJob>(kUsed);
  results_ = take<const float*>(kUsed);

  std::vector<kernels::ExpertJob> jobs(kUsed);
  std::vector<const float*> results(kUsed);
  for (std::uint32_t i = 0; i < kUsed; ++i) {
    jobs[i] = {.matrices = {weights_, weights_, weights_}, .begin = i, .rows = 1};
    results[i] = out_ + std::size_t{i} * kColumns;
  }
  stream_.copy(jobs_, jobs.data(), Bytes(kUsed * sizeof jobs[0]));
  stream_.copy(results_, results.data(), Bytes(kUsed * sizeof results[0]));
  stream_.synchronize();
}

template <typename T>
T* GpuLayerWork::take(std::size_t count) {
  std::byte* const at = memory_.data() + taken_;
  taken_ += round_up(count * sizeof(T), kAlignment);
  CHECK_LE(taken_, memory_.size().count);
  return reinterpret_cast<T*>(at);
}

QuantizeTask::Destination GpuLayerWork::activations(std::uint32_t rows, std::uint32_t columns) {
  const std::size_t values = std::size_t{rows} * columns;
  return {.rows = rows,
          .columns = columns,
          .stride = columns,
          .values = take<float>(values),
          .codes = take<std::int8_t>(values),
          .scales = take<float>(values / 32),
          .sums = take<std::int16_t>(values / 16)};
}

void GpuLayerWork::enqueue() {
  const Activations normed = QuantizeTask{.to = normed_}.result();
  // To which the layer before it gave its experts.
  normalize({.used = kUsed,
             .results = results_,
             .weights = rank_weights_,
             .sums = added_,
             .stride = kColumns});
  multiply(normed, {heads_, heads_ + kMatrixRows, heads_ + 2 * kMatrixRows});
  attend();
  normalize({});
  multiply(normed, {out_});
  route();
  feed_forward();
}

void GpuLayerWork::normalize(const kernels::ExpertResults& experts) {
  kernels_.normalize({.rows = 1,
                      .columns = kColumns,
                      .x = residual_,
                      .x_stride = kColumns,
                      .experts = experts,
                      .added = {{.x = added_, .stride = kColumns}},
                      .outputs = {{.weight = norm_, .to = normed_}}},
                     stream_.native());
}

void GpuLayerWork::route() {
  kernels_.route({.spec = {.experts = kExperts, .used = kUsed},
                  .rows = 1,
                  .logits = out_,
                  .logit_stride = kExperts,
                  .ids = ids_,
                  .weights = rank_weights_},
                 stream_.native());
}

void GpuLayerWork::multiply(const Activations& x, std::initializer_list<float*> outputs) {
  kernels::Products products;
  for (float* const y : outputs)
    products.tasks[products.count++] = {.format = kFormat,
                                        .rows = kMatrixRows,
                                        .columns = kColumns,
                                        .x = x,
                                        .dense = {weights_},
                                        .y = y,
                                        .y_stride = kColumns};
  kernels_.product(products, stream_.native());
}

void GpuLayerWork::attend() {
  constexpr std::uint64_t kStride = std::uint64_t{kHeads + 2 * kKvHeads} * kHeadDim;
  float* const keys = heads_ + kHeads * kHeadDim;
  float* const values = keys + kKvHeads * kHeadDim;
  const auto turned = [&](std::uint32_t heads, const float* from) {
    return kernels::HeadGroup{.heads = heads,
                              .dim = kHeadDim,
                              .from = from,
                              .from_stride = kStride,
                              .from_head_stride = kHeadDim,
                              .normed = kHeadDim,
                              .weight = norm_,
                              .half = kHeadDim / 2};
  };
  kernels::TurnTask turn{
      .rows = 1,
      .position = zeros_,
      .cosine = turns_,
      .sine = turns_,
      .groups = {turned(kHeads, heads_), turned(kKvHeads, keys), turned(kKvHeads, values)}};
  turn.groups[0].x = heads_;
  turn.groups[0].stride = kStride;
  turn.groups[0].head_stride = kHeadDim;
  turn.groups[1].to = keys_;
  turn.groups[2].to = values_;
  turn.groups[2].normed = turn.groups[2].half = 0;
  kernels_.turn(turn, stream_.native());
  kernels_.attend({.rows = 1,
                   .heads = kHeads,
                   .kv_heads = kKvHeads,
                   .value_dim = kHeadDim,
                   .position = zeros_,
                   .queries = heads_,
                   .query_stride = kStride,
                   .keys = keys_,
                   .values = values_,
                   .states = states_,
                   .results = {.to = attended_}},
                  stream_.native());
  multiply(QuantizeTask{.to = attended_}.result(), {added_});
}

void GpuLayerWork::feed_forward() {
  const Activations normed = QuantizeTask{.to = normed_}.result();
  multiply_experts({.rows = kMatrixRows,
                    .columns = kColumns,
                    .x = normed,
                    .matrices = 2,
                    .x_rows = zeros_,
                    .hidden = hidden_},
                   0);
  multiply_experts({.rows = kMatrixRows,
                    .columns = kExpertColumns,
                    .x = QuantizeTask{.to = hidden_}.result(),
                    .y = out_,
                    .y_stride = kColumns},
                   2);
}

void GpuLayerWork::multiply_experts(kernels::ProductTask task, std::uint32_t job_matrix) {
  task.format = kFormat;
  task.jobs = jobs_;
  task.job_count = kUsed;
  task.job_matrix = job_matrix;
  kernels_.product(task, stream_.native());
}

}  // namespace hearth::tools
