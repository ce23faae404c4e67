// What the chunks of a context left of a query becomes its result (kernels/attention.h).
#pragma once

#include "kernels/gpu/attention.cuh"
#include "kernels/gpu/hadamard.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

struct MergedOutputs {
  float values[kMaxHeadDim];
};

// Of channel `channel` of query `query`, the chunks in order, then the sink.
HEARTH_DEVICE float merged_channel(const AttendTask& task, std::size_t query, std::uint32_t chunks,
                                   float sink, std::uint32_t channel) {
  float maximum = float_of(0xff800000u), sum = 0, output = 0;
  for (std::uint32_t chunk = 0; chunk < chunks; ++chunk) {
    const ChunkState state = chunk_state(task, chunk);
    const float later = state.maxima[query], of_chunk = state.sums[query];
    if (of_chunk == 0) continue;  // it attends to nothing there, and left no outputs
    const float found = state.outputs[query * task.value_dim + channel];
    if (chunk == 0) {
      maximum = later;
      sum = of_chunk;
      output = found;
      continue;
    }
    const float before = maximum;
    maximum = before > later ? before : later;
    const float kept = exponential(before - maximum), taken = exponential(later - maximum);
    sum = fma(of_chunk, taken, sum * kept);
    output = fma(found, taken, output * kept);
  }
  const float most = maximum > sink ? maximum : sink;
  const float kept = exponential(maximum - most), added = exponential(sink - most);
  const float total = sum * kept + added;
  return divide(output * kept, total);
}

// Block (head, row).
HEARTH_KERNEL(kAttendThreads) merge_chunks(AttendTask task) {
  HEARTH_SHARED(MergedOutputs, merged);
  const std::uint32_t head = block_x(), row = block_y(), end = *task.position + row + 1;
  const std::uint32_t size = attention_chunk(end);
  const float sink = task.sinks == nullptr ? float_of(0xff800000u) : task.sinks[head];
  for (std::uint32_t c = thread_index(); c < task.value_dim; c += block_threads())
    merged.values[c] = merged_channel(task, std::size_t{row} * task.heads + head,
                                      (end + size - 1) / size, sink, c);
  rotate_block(task.rotation, task.value_dim, merged.values);
  float* const result =
      task.results + row * task.result_stride + std::size_t{head} * task.result_head_stride;
  for (std::uint32_t c = thread_index(); c < task.value_dim; c += block_threads())
    result[c] = merged.values[c];
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
