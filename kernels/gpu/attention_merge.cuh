// What the chunks of a context left of a query becomes its result (kernels/attention.h).
#pragma once

#include "kernels/gpu/ahead.cuh"
#include "kernels/gpu/attention.cuh"
#include "kernels/gpu/gate.cuh"
#include "kernels/gpu/hadamard.cuh"
#include "kernels/gpu/quantize.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

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

struct MergeShared {
  float values[kMaxHeadDim];
  float sums[kMaxAttentionChunks];
  float maxima[kMaxAttentionChunks];
  Merge merges[kMaxAttentionChunks];  // of a chunk into those before it
};

// Of a query, each chunk's by a thread. A collective of the block.
HEARTH_DEVICE void find_merges(const AttendTask& task, std::size_t query, std::uint32_t chunks,
                               MergeShared& shared) {
  static_assert(kMaxAttentionChunks <= kAttendThreads);
  const unsigned own = thread_index();
  if (own < chunks) {
    const ChunkState state = chunk_state(task, own);
    shared.sums[own] = state.sums[query];
    shared.maxima[own] = state.maxima[query];
  }
  sync_threads();
  if (own < chunks) {
    Merge merge{float_of(0xff800000u), 1, 0};
    for (unsigned chunk = 0; chunk < own; ++chunk)
      if (shared.sums[chunk] != 0)
        merge.maximum = merge.maximum > shared.maxima[chunk] ? merge.maximum : shared.maxima[chunk];
    if (shared.sums[own] != 0) merge = merge_of(merge.maximum, shared.maxima[own]);
    shared.merges[own] = merge;
  }
  sync_threads();
}

// Of channel `channel` of query `query`, the chunks in order, then the sink. Neighbouring lanes
// call it together.
HEARTH_DEVICE float merged_channel(const AttendTask& task, std::size_t query, std::uint32_t chunks,
                                   float sink, std::uint32_t channel, const MergeShared& shared) {
  constexpr unsigned kTogether = 16;
  const std::size_t stride = chunk_state(task, 1).outputs - chunk_state(task, 0).outputs;
  const float* const outputs = chunk_state(task, 0).outputs + query * task.value_dim + channel;
  float sum = 0, output = 0;
  for (std::uint32_t first = 0; first < chunks; first += kTogether) {
    float found[kTogether];
    for (unsigned k = 0; k < kTogether; ++k)
      found[k] = outputs[(first + k < chunks ? first + k : first) * stride];
    after_loads();
    for (unsigned k = 0; k < kTogether; ++k) {
      const std::uint32_t chunk = first + k;
      // Where it attends to nothing, it left no outputs.
      if (chunk >= chunks || shared.sums[chunk] == 0) continue;
      const Merge merge = shared.merges[chunk];
      sum = chunk == 0 ? shared.sums[0] : fma(shared.sums[chunk], merge.taken, sum * merge.kept);
      output = chunk == 0 ? found[k] : fma(found[k], merge.taken, output * merge.kept);
    }
  }
  const Merge last = merge_of(shared.merges[chunks - 1].maximum, sink);
  const float total = sum * last.kept + last.taken;
  return divide(output * last.kept, total);
}

// What a head found, by the gates of its channels. A collective, which ends with a barrier.
HEARTH_DEVICE void gate_head(const HeadResults& results, std::uint32_t row, std::uint32_t head,
                             std::uint32_t dim, float* values) {
  if (results.gates == nullptr) return;
  const float* const gates =
      results.gates + row * results.gate_stride + std::size_t{head} * results.gate_head_stride;
  for (std::uint32_t c = thread_index(); c < dim; c += block_threads())
    values[c] = sigmoid_multiply(gates[c], values[c]);
  sync_threads();
}

// To the activations. A row is written up to its stride, by the block of its last head. Codes are
// made of 32 values each, of which none may be another head's (launch_attend).
HEARTH_DEVICE void give_head(const AttendTask& task, std::uint32_t row, std::uint32_t head,
                             const float* values) {
  const bool apart = task.results.apart;
  const QuantizeTask::Destination& to = task.results.to;
  const std::uint32_t to_row = apart ? row * task.heads + head : row;
  const std::uint32_t begin = apart ? 0 : head * task.value_dim, end = begin + task.value_dim;
  if (to.codes == nullptr) {
    float* const own = to.values + std::uint64_t{to_row} * to.stride + begin;
    for (std::uint32_t c = thread_index(); c < task.value_dim; c += block_threads())
      own[c] = values[c];
    return;
  }
  const std::uint32_t written = end == to.columns ? to.stride : end;
  const std::uint32_t step = block_threads() * kValuesPerThread;
  for (std::uint32_t first = begin; first < written; first += step) {
    const std::uint32_t at = first + thread_index() * kValuesPerThread;
    float x[kValuesPerThread];
    load_four(values, at - begin, task.value_dim, x);
    const QuantizedFour four = quantize_four(x);
    if (at < written) store_four(to, to_row, at, x, four);
  }
}

// Block (head, row); then those that ask ahead. Where blocks walked the context, all chunks are in
// the state of the first.
HEARTH_KERNEL(kAttendThreads) merge_chunks(AttendTask task, bool walked) {
  const bool has_head = block_x() < task.heads;
  if (!has_head) ask_ahead(task.ahead, block_x() - task.heads);
  wait_for_previous();
  if (!has_head) return;
  HEARTH_SHARED(MergeShared, shared);
  const std::uint32_t head = block_x(), row = block_y(), end = *task.position + row + 1;
  const std::uint32_t size = attention_chunk(end);
  const std::uint32_t chunks = walked ? 1 : (end + size - 1) / size;
  const std::size_t query = std::size_t{row} * task.heads + head;
  const float sink = task.sinks == nullptr ? float_of(0xff800000u) : task.sinks[head];
  find_merges(task, query, chunks, shared);
  for (std::uint32_t first = 0; first < task.value_dim; first += block_threads()) {
    const std::uint32_t channel = first + thread_index();
    const bool present = channel < task.value_dim;
    const float merged =
        merged_channel(task, query, chunks, sink, present ? channel : first, shared);
    if (present) shared.values[channel] = merged;
  }
  rotate_block(task.rotation, task.value_dim, shared.values);
  gate_head(task.results, row, head, task.value_dim, shared.values);
  give_head(task, row, head, shared.values);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
