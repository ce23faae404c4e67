#include "kernels/gpu/quantize.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

constexpr unsigned kQuantizeThreads = 256;

// Block (x, row): values [1024 x, 1024 (x + 1)) of a row.
HEARTH_KERNEL(kQuantizeThreads) quantize_rows(QuantizeTask task) {
  const std::uint32_t row = block_y();
  const std::uint32_t at = (block_x() * block_threads() + thread_index()) * kValuesPerThread;
  float x[kValuesPerThread];
  load_four(task.x + row * task.x_stride, at, task.to.columns, x);
  const QuantizedFour four = quantize_four(x);
  if (at < task.to.stride) store_four(task.to, row, at, x, four);
}

struct NormalizeShared {
  static constexpr unsigned kTile = 2048;
  float tile[kTile];
  float factor;
};

// The sum of squares in 16 chains (kernels/cpu/vector_ops.h), from shared memory by the first warp
// while the others wait: 128 steps for 2048 values.
HEARTH_DEVICE float sum_of_squares(const float* row, std::uint32_t columns,
                                   NormalizeShared& shared) {
  constexpr unsigned kChains = 16, kTile = NormalizeShared::kTile;
  float chain = 0;
  for (std::uint32_t begin = 0; begin < columns; begin += kTile) {
    for (std::uint32_t i = thread_index(); i < kTile; i += block_threads())
      shared.tile[i] = begin + i < columns ? row[begin + i] : 0.0f;
    sync_threads();
    const std::uint32_t left = columns - begin < kTile ? columns - begin : kTile;
    if (warp_index() == 0)
      for (std::uint32_t i = thread_index() % kChains; i < left; i += kChains)
        chain = fma(shared.tile[i], shared.tile[i], chain);
    sync_threads();
  }
  return group_sum<kChains>(chain);
}

// Block (row).
HEARTH_KERNEL(kQuantizeThreads) normalize_rows(NormalizeTask task) {
  HEARTH_SHARED(NormalizeShared, shared);
  const QuantizeTask::Destination& to = task.quantize.to;
  const std::uint32_t row = block_x();
  const float* const from = task.quantize.x + row * task.quantize.x_stride;
  const float sum = sum_of_squares(from, to.columns, shared);
  if (thread_index() == 0) {
    const float mean = divide(sum, static_cast<float>(to.columns));
    shared.factor = divide(1.0f, square_root(mean + task.epsilon));
  }
  sync_threads();
  const float factor = shared.factor;
  const std::uint32_t step = block_threads() * kValuesPerThread;
  for (std::uint32_t begin = 0; begin < to.stride; begin += step) {
    const std::uint32_t at = begin + thread_index() * kValuesPerThread;
    float x[kValuesPerThread];
    load_four(from, at, to.columns, x);
    for (unsigned i = 0; i < kValuesPerThread; ++i) {
      x[i] = x[i] * factor;
      if (task.weight != nullptr && at + i < to.columns) x[i] = x[i] * task.weight[at + i];
    }
    const QuantizedFour four = quantize_four(x);
    if (at < to.stride) store_four(to, row, at, x, four);
  }
}

void launch_quantize(const QuantizeTask& task, NativeStream stream) {
  if (task.to.rows == 0) return;
  constexpr unsigned kPerBlock = kQuantizeThreads * kValuesPerThread;
  launch(quantize_rows,
         {.blocks_x = (task.to.stride + kPerBlock - 1) / kPerBlock,
          .blocks_y = task.to.rows,
          .threads = kQuantizeThreads},
         stream, task);
}

void launch_normalize(const NormalizeTask& task, NativeStream stream) {
  const unsigned rows = task.quantize.to.rows;
  if (rows == 0) return;
  launch(normalize_rows, {.blocks_x = rows, .threads = kQuantizeThreads}, stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
