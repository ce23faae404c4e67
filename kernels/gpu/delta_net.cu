#include "kernels/gpu/delta_net.h"

#include "kernels/delta_gates.h"
#include "kernels/gpu/ahead.cuh"
#include "kernels/gpu/norm.cuh"
#include "kernels/gpu/quantize.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

namespace {

// What belongs to a head of a row, where `share` heads of `dim` channels lie with a key head.
HEARTH_DEVICE const float* head_of(const DeltaInput& in, std::uint32_t head, std::uint32_t share,
                                   std::uint32_t dim, std::uint64_t row) {
  return in.at + row * in.row_stride + head / share * in.key_head_stride + head % share * dim;
}

constexpr unsigned kPrepareThreads = 128;
constexpr unsigned kTapsTogether = 4;  // as many as models have

// A channel of all rows, by one thread.
HEARTH_DEVICE void convolve(const PrepareDeltaTask& task, const float* x, std::uint64_t x_stride,
                            std::uint32_t channel) {
  const std::uint32_t taps = task.shape.taps, kept = taps - 1;
  const std::uint64_t channels = task.shape.channels();
  const float* const weights = task.convolution + std::uint64_t{channel} * taps;
  float* const window = task.window + channel;
  // Input `index` of the window followed by the rows.
  const auto input = [&](std::uint64_t index) {
    return index < kept ? window[index * channels] : x[(index - kept) * x_stride];
  };
  for (std::uint64_t row = 0; row < task.rows; ++row) {
    float sum = 0;
    for (std::uint32_t first = 0; first < taps; first += kTapsTogether) {
      float weight[kTapsTogether], x_of[kTapsTogether];
      for (unsigned k = 0; k < kTapsTogether; ++k) {
        const std::uint32_t j = first + k < taps ? first + k : taps - 1;
        weight[k] = weights[j];
        x_of[k] = input(row + j);
      }
      for (unsigned k = 0; k < kTapsTogether; ++k)
        if (first + k < taps)
          sum = first + k == 0 ? weight[0] * x_of[0] : fma(weight[k], x_of[k], sum);
    }
    task.mixed[row * channels + channel] = divide(sum, 1.0f + exponential(sum * -1.0f));
  }
  // What is still to be read lies behind what is written.
  for (std::uint32_t j = 0; j < kept; ++j) window[j * channels] = input(task.rows + j);
}

// CpuKernels::l2_norm of a head of all rows, which lie from x on.
HEARTH_DEVICE void normalize_lengths(const PrepareDeltaTask& task, float* x, float scale) {
  const std::uint32_t dim = task.shape.key_dim;
  const unsigned groups = block_threads() / kNormChains;
  for (std::uint32_t first = 0; first < task.rows; first += groups) {
    const std::uint32_t row = first + thread_index() / kNormChains;
    float* const head = x + std::uint64_t{row} * task.shape.channels();
    const std::uint32_t count = row < task.rows ? dim : 0;
    const float length = square_root(sum_of_squares(head, count));
    const float factor = divide(scale, length < task.epsilon ? task.epsilon : length);
    for (std::uint32_t i = thread_index() % kNormChains; i < count; i += kNormChains)
      head[i] = head[i] * factor;
  }
}

HEARTH_DEVICE void compute_gates(const PrepareDeltaTask& task, std::uint64_t index) {
  const std::uint32_t heads = task.shape.value_heads, share = task.shape.heads_per_key();
  const std::uint64_t row = index / heads;
  if (row >= task.rows) return;
  const auto head = static_cast<std::uint32_t>(index % heads);
  const DeltaGates gates = delta_gates(*head_of(task.alpha, head, share, 1, row), task.bias[head],
                                       task.rate[head], *head_of(task.beta, head, share, 1, row));
  task.decay[index] = gates.decay;
  task.strength[index] = gates.strength;
}

// Block (head): first those of queries, of keys and of values, then gates for each thread.
HEARTH_KERNEL(kPrepareThreads) prepare_heads(PrepareDeltaTask task) {
  const DeltaNetShape& shape = task.shape;
  const std::uint32_t keys = shape.key_heads, heads = 2 * keys + shape.value_heads;
  const bool has_head = block_x() < heads;
  const bool of_value = block_x() >= 2 * keys, of_query = block_x() < keys;
  const std::uint32_t dim = of_value ? shape.value_dim : shape.key_dim;
  const std::uint32_t head = of_value ? block_x() - 2 * keys : block_x() % keys;
  const std::uint32_t begin = of_value ? 2 * shape.keys() + head * dim : block_x() * dim;
  if (has_head) prefetch_values(task.convolution + begin * shape.taps, dim * shape.taps);
  wait_for_previous();
  if (!has_head) {
    compute_gates(task, std::uint64_t{block_x() - heads} * block_threads() + thread_index());
    return;
  }
  const DeltaInput& in = of_value ? task.value : of_query ? task.query : task.key;
  const float* const x = head_of(in, head, of_value ? shape.heads_per_key() : 1, dim, 0);
  for (std::uint32_t c = thread_index(); c < dim; c += block_threads())
    convolve(task, x + c, in.row_stride, begin + c);
  if (of_value) return;
  sync_threads();
  const float scale = divide(1.0f, square_root(static_cast<float>(dim)));
  normalize_lengths(task, task.mixed + begin, of_query ? scale : 1.0f);
}

constexpr unsigned kUpdateThreads = 64;
// A column has two threads: one for its even keys and one for its odd ones (fold2).
constexpr unsigned kThreadsPerPanel = 2 * kDeltaPanel;

struct alignas(16) FourFloats {
  float value[4];
};

// In dynamic shared memory.
struct DeltaShared {
  float* key;    // [key_dim]
  float* query;  // [key_dim]
  float* state;  // [panels of the block][key_dim][kDeltaPanel]
};

// A block has few threads for its state: each has eight loads under way.
HEARTH_DEVICE void copy_state(const float* from, std::uint32_t floats, float* to) {
  constexpr unsigned kTogether = 8;
  const std::uint32_t step = 4 * block_threads();
  for (std::uint32_t begin = 0; begin < floats; begin += kTogether * step) {
    const std::uint32_t first = begin + 4 * thread_index();
    float four[kTogether][4];  // no array of structs, which clang would keep on the stack
    for (unsigned k = 0; k < kTogether; ++k) {
      const std::uint32_t at = first + k * step;
      const FourFloats loaded = *aligned<FourFloats>(from + (at < floats ? at : 0));
      for (unsigned i = 0; i < 4; ++i) four[k][i] = loaded.value[i];
    }
    after_loads();
    for (unsigned k = 0; k < kTogether; ++k)
      if (first + k * step < floats)
        *aligned<FourFloats>(to + first +
                             k * step) = {{four[k][0], four[k][1], four[k][2], four[k][3]}};
  }
}

// Every second key of a column gets its change, `kCount` of them from `i` on; returns `found` with
// what the query finds there.
template <unsigned kCount>
HEARTH_DEVICE float change_column(const DeltaShared& shared, float* column, std::uint32_t i,
                                  float change, float decay, float found) {
  float next[kCount], query[kCount];
  for (unsigned k = 0; k < kCount; ++k) {
    const std::uint32_t at = i + 2 * k;
    next[k] = fma(shared.key[at], change, column[at * kDeltaPanel] * decay);
    query[k] = shared.query[at];
  }
  for (unsigned k = 0; k < kCount; ++k) {
    column[(i + 2 * k) * kDeltaPanel] = next[k];
    found = fma(next[k], query[k], found);
  }
  return found;
}

// A row's turn at a column of the state, of which this thread has every second key. All lanes of a
// warp call it; those without a column with no keys.
HEARTH_DEVICE float update_column(const DeltaShared& shared, float* column, std::uint32_t keys,
                                  float value, const DeltaGates& gates) {
  const unsigned odd = thread_index() % kThreadsPerPanel / kDeltaPanel;
  float remembered = 0;
  for (std::uint32_t i = odd; i < keys; i += 2)
    remembered = fma(column[i * kDeltaPanel], shared.key[i], remembered);
  remembered = remembered + shuffle_xor(remembered, kDeltaPanel);
  const float change = (value - remembered * gates.decay) * gates.strength;
  constexpr unsigned kTogether = 8;
  float found = 0;
  std::uint32_t i = odd;
  for (; i + 2 * (kTogether - 1) < keys; i += 2 * kTogether)
    found = change_column<kTogether>(shared, column, i, change, gates.decay, found);
  for (; i < keys; i += 2) found = change_column<1>(shared, column, i, change, gates.decay, found);
  return found + shuffle_xor(found, kDeltaPanel);
}

// Block (`together` panels, value head): their state is in shared memory for all rows.
HEARTH_KERNEL(kUpdateThreads) update_states(UpdateDeltaTask task, std::uint32_t together) {
  const DeltaNetShape& shape = task.shape;
  const std::uint32_t dim = shape.key_dim, head = block_y();
  const std::uint32_t panels = shape.value_dim / kDeltaPanel, first = block_x() * together;
  const std::uint32_t here = panels - first < together ? panels - first : together;
  float* const state = task.state + (std::uint64_t{head} * panels + first) * dim * kDeltaPanel;
  if constexpr (begins_early()) prefetch_values(state, here * dim * kDeltaPanel);
  wait_for_previous();
  HEARTH_DYNAMIC_SHARED(float, memory);
  HEARTH_ASSERT(dim <= kMostDeltaKeys);
  const DeltaShared shared{memory, memory + dim, memory + 2 * dim};
  copy_state(state, here * dim * kDeltaPanel, shared.state);

  const std::uint32_t panel = thread_index() / kThreadsPerPanel;
  const std::uint32_t column =
      panel < here ? panel * kDeltaPanel + thread_index() % kDeltaPanel : 0;
  float* const of_column =
      shared.state + std::uint64_t{column / kDeltaPanel} * dim * kDeltaPanel + column % kDeltaPanel;
  const std::uint32_t query = shape.key_head_of(head) * dim, key = shape.keys() + query;
  const std::uint32_t channel = head * shape.value_dim + first * kDeltaPanel + column;
  for (std::uint64_t row = 0; row < task.rows; ++row) {
    const float* const mixed = task.mixed + row * shape.channels();
    sync_threads();
    for (std::uint32_t i = thread_index(); i < dim; i += block_threads()) {
      shared.key[i] = mixed[key + i];
      shared.query[i] = mixed[query + i];
    }
    const DeltaGates gates{task.decay[row * shape.value_heads + head],
                           task.strength[row * shape.value_heads + head]};
    const float value = mixed[2 * shape.keys() + channel];
    sync_threads();
    const float found = update_column(shared, of_column, panel < here ? dim : 0, value, gates);
    if (panel < here && thread_index() % kThreadsPerPanel < kDeltaPanel)
      task.out[row * shape.values() + channel] = found;
  }
  sync_threads();
  copy_state(shared.state, here * dim * kDeltaPanel, state);
}

constexpr unsigned kFinishThreads = 128;
constexpr unsigned kFinishColumns = kFinishThreads * kValuesPerThread;

// Of the heads that have columns in a block, the last and the first perhaps not all.
struct FinishShared {
  float factors[kFinishColumns / kDeltaPanel + 1];
};

// What the heads from `first` to `last` are multiplied with (CpuKernels::rms_norm).
HEARTH_DEVICE void find_factors(const FinishDeltaTask& task, std::uint32_t first,
                                std::uint32_t last, FinishShared& shared) {
  const std::uint32_t dim = task.shape.value_dim;
  const unsigned groups = block_threads() / kNormChains;
  for (std::uint32_t begin = first; begin <= last; begin += groups) {
    const std::uint32_t head = begin + thread_index() / kNormChains;
    const float* const x = task.x + std::uint64_t{block_y()} * task.shape.values() + head * dim;
    const float sum = sum_of_squares(x, head <= last ? dim : 0);
    if (head <= last && thread_index() % kNormChains == 0)
      shared.factors[head - first] = norm_factor(sum, dim, task.epsilon);
  }
}

constexpr std::uint32_t finish_blocks(const FinishDeltaTask& task) {
  return (task.to.stride + kFinishColumns - 1) / kFinishColumns;
}

// Block (512 columns, row); then those that ask ahead.
HEARTH_KERNEL(kFinishThreads) finish_heads(FinishDeltaTask task) {
  const bool has_columns = block_x() < finish_blocks(task);
  if (has_columns)
    prefetch_values(task.norm, task.shape.value_dim);
  else
    ask_ahead(task.ahead, block_x() - finish_blocks(task));
  wait_for_previous();
  if (!has_columns) return;
  HEARTH_SHARED(FinishShared, shared);
  const std::uint32_t dim = task.shape.value_dim, values = task.shape.values();
  const std::uint32_t row = block_y(), begin = block_x() * kFinishColumns;
  const std::uint32_t end = begin + kFinishColumns < values ? begin + kFinishColumns : values;
  const std::uint32_t first = begin / dim, at = begin + thread_index() * kValuesPerThread;
  const std::uint32_t head = at / dim, in_head = at % dim;
  // Loaded while the sums are made. All four are of one head.
  float from[kValuesPerThread] = {}, z[kValuesPerThread] = {}, weight[kValuesPerThread] = {};
  for (unsigned i = 0; i < kValuesPerThread; ++i) {
    if (at >= end) continue;
    from[i] = task.x[std::uint64_t{row} * values + at + i];
    z[i] = head_of(task.z, head, task.shape.heads_per_key(), dim, row)[in_head + i];
    weight[i] = task.norm[in_head + i];
  }
  if (begin < end) find_factors(task, first, (end - 1) / dim, shared);
  sync_threads();

  float x[kValuesPerThread] = {};
  for (unsigned i = 0; i < kValuesPerThread; ++i) {
    if (at >= end) continue;
    const float normed = from[i] * shared.factors[head - first] * weight[i];
    x[i] = divide(z[i], 1.0f + exponential(z[i] * -1.0f)) * normed;
  }
  const QuantizedFour four = quantize_four(x);
  if (at < task.to.stride) store_four(task.to, row, at, x, four);
}

}  // namespace

void launch_prepare_delta(const PrepareDeltaTask& task, NativeStream stream) {
  if (task.rows == 0) return;
  const DeltaNetShape& shape = task.shape;
  const unsigned gates = task.rows * shape.value_heads;
  launch(prepare_heads,
         {.blocks_x = 2 * shape.key_heads + shape.value_heads +
                      (gates + kPrepareThreads - 1) / kPrepareThreads,
          .threads = kPrepareThreads},
         stream, task);
}

void launch_update_delta(const UpdateDeltaTask& task, NativeStream stream) {
  if (task.rows == 0) return;
  // Two panels fill the threads of a block; with many keys one fills its memory.
  const std::uint32_t dim = task.shape.key_dim, together = dim > kMostDeltaKeys / 2 ? 1 : 2;
  const std::uint32_t panels = task.shape.value_dim / kDeltaPanel;
  launch(
      update_states,
      {.blocks_x = (panels + together - 1) / together,
       .blocks_y = task.shape.value_heads,
       .threads = kUpdateThreads,
       .dynamic_shared = static_cast<unsigned>((2 + together * kDeltaPanel) * dim * sizeof(float))},
      stream, task, together);
}

void launch_finish_delta(const FinishDeltaTask& task, NativeStream stream) {
  if (task.to.rows == 0) return;
  const unsigned asking = task.to.rows == 1 ? ahead_blocks(task.ahead) : 0;
  launch(finish_heads,
         {.blocks_x = finish_blocks(task) + asking,
          .blocks_y = task.to.rows,
          .threads = kFinishThreads},
         stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
