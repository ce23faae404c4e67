#include "runtime/gpu/device_step.h"

#include <algorithm>

#include "base/check.h"

namespace hearth::runtime {

using kernels::Activations;
using kernels::GpuKernels;
using kernels::ProductTask;

namespace {

Activations view(const kernels::QuantizeTask::Destination& to) {
  return kernels::QuantizeTask{.to = to}.result();
}

std::uint32_t most_rows(const ProductTask& task) {
  return task.jobs == nullptr ? task.x.rows / task.parts : task.most_rows;
}

}  // namespace

void DeviceStep::enter(float epsilon, std::span<const kernels::NormedOutput> norms,
                       const kernels::Ahead& ahead) {
  kernels::NormalizeTask task{.rows = rows,
                              .columns = embedding(),
                              .x = scratch.hidden,
                              .x_stride = embedding(),
                              .experts = pending.experts,
                              .added_norm = pending.norm,
                              .factor = pending.factor,
                              .epsilon = epsilon,
                              .ahead = ahead};
  CHECK_LE(norms.size(), std::size(task.outputs));
  std::ranges::copy(pending.parts, task.added);
  std::ranges::copy(norms, task.outputs);
  launch(&GpuKernels::normalize, task);
  pending = {};
}

Activations DeviceStep::enter(float epsilon, const WeightVector& norm,
                              const kernels::Ahead& ahead) {
  const auto to = scratch.normed.shaped(rows, embedding());
  const kernels::NormedOutput output{.weight = weights.of(norm), .to = to};
  enter(epsilon, {&output, 1}, ahead);
  return view(to);
}

Activations DeviceStep::leave(float epsilon, const WeightVector& norm, std::uint32_t first,
                              const kernels::Ahead& ahead) {
  const auto to = scratch.normed.shaped(rows - first, embedding());
  kernels::NormalizeTask task{.rows = rows - first,
                              .columns = embedding(),
                              .x = scratch.hidden + std::size_t{first} * embedding(),
                              .x_stride = embedding(),
                              .experts = pending.experts,
                              .added_norm = pending.norm,
                              .factor = pending.factor,
                              .epsilon = epsilon,
                              .outputs = {{.weight = weights.of(norm), .to = to}},
                              .ahead = ahead};
  if (kernels::ExpertResults& given = task.experts; given.results != nullptr) {
    given.results += std::size_t{first} * given.used;
    if (given.weights != nullptr) given.weights += std::size_t{first} * given.used;
    given.sums += first * given.stride;
  }
  std::ranges::copy(pending.parts, task.added);
  for (kernels::BlockOutput& part : task.added) {
    if (part.x != nullptr) part.x += first * part.stride;
    if (part.gate != nullptr) part.gate += first * part.gate_stride;
  }
  launch(&GpuKernels::normalize, task);
  pending = {};
  return view(to);
}

kernels::Ahead DeviceStep::ahead(
    std::initializer_list<const kernels::WeightMatrix*> matrices) const {
  kernels::Ahead ahead;
  if (chunk != nullptr) return ahead;
  std::size_t count = 0;
  std::uint64_t left = most_ahead.count;
  for (const kernels::WeightMatrix* matrix : matrices) {
    if (matrix == nullptr || left == 0) continue;
    CHECK_LT(count, std::size(ahead.parts));
    const std::uint64_t bytes = std::min<std::uint64_t>(matrix->bytes(), left);
    ahead.parts[count++] = {.at = weights.of(*matrix), .bytes = static_cast<std::uint32_t>(bytes)};
    left -= bytes;
  }
  return ahead;
}

void DeviceStep::give_block_out(const WeightVector& norm) {
  pending = {.parts = {{.x = scratch.block_out, .stride = embedding()}}, .norm = weights.of(norm)};
}

void add(const ProductTask& task, kernels::Products& to) {
  CHECK_LT(to.count, std::size(to.tasks));
  to.tasks[to.count++] = task;
}

void DeviceStep::multiply(const kernels::Products& products) const {
  std::uint32_t most = 0;
  for (const ProductTask& task : std::span(products.tasks).first(products.count))
    most = std::max(most, most_rows(task));
  launch(most > kernels::kMostProductRows ? &GpuKernels::matrix_product : &GpuKernels::product,
         products);
}

void DeviceStep::multiply(const Activations& x, std::initializer_list<DeviceProduct> products,
                          std::uint64_t stride) const {
  kernels::Products all;
  for (const DeviceProduct& product : products)
    if (product.weights != nullptr) add(task_of(x, product, stride), all);
  multiply(all);
}

ProductTask DeviceStep::task_of(const Activations& x, const DeviceProduct& product,
                                std::uint64_t stride) const {
  const kernels::WeightMatrix& matrix = *product.weights;
  return {.format = matrix.format,
          .rows = matrix.rows,
          .columns = matrix.columns,
          .x = x,
          .dense = {weights.of(matrix)},
          .terms = {{.bias = weights.of(product.bias)}},
          .y = product.out,
          .y_stride = stride};
}

}  // namespace hearth::runtime
