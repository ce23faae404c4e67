// What the chunks of a context left of a query becomes its result (kernels/attention.h).
#pragma once

#include "kernels/gpu/attention.cuh"
#include "kernels/gpu/hadamard.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

struct MergedOutputs {
  float values[kMaxHeadDim];
};

// How what a later chunk found is added to what was found before.
struct Merge {
  float maximum;
  float kept;   // of what was before
  float taken;  // of what comes
};
HEARTH_DEVICE Merge merge_of(float before, float later) {
  const float maximum = before > later ? before : later;
  return {maximum, exponential(before - maximum), exponential(later - maximum)};
}

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
    const Merge merge = merge_of(maximum, later);
    maximum = merge.maximum;
    sum = fma(of_chunk, merge.taken, sum * merge.kept);
    output = fma(found, merge.taken, output * merge.kept);
  }
  const Merge last = merge_of(maximum, sink);
  const float total = sum * last.kept + last.taken;
  return divide(output * last.kept, total);
}

// Block (head, row). Where blocks walked the context, all chunks are in the state of the first.
HEARTH_KERNEL(kAttendThreads) merge_chunks(AttendTask task, bool walked) {
  HEARTH_SHARED(MergedOutputs, merged);
  const std::uint32_t head = block_x(), row = block_y(), end = *task.position + row + 1;
  const std::uint32_t size = attention_chunk(end);
  const std::uint32_t chunks = walked ? 1 : (end + size - 1) / size;
  const float sink = task.sinks == nullptr ? float_of(0xff800000u) : task.sinks[head];
  for (std::uint32_t c = thread_index(); c < task.value_dim; c += block_threads())
    merged.values[c] = merged_channel(task, std::size_t{row} * task.heads + head, chunks, sink, c);
  rotate_block(task.rotation, task.value_dim, merged.values);
  float* const result =
      task.results + row * task.result_stride + std::size_t{head} * task.result_head_stride;
  for (std::uint32_t c = thread_index(); c < task.value_dim; c += block_threads())
    result[c] = merged.values[c];
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
