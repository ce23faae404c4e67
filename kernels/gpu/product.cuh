// The products of kernels/arithmetic.h on a GPU. Eight neighbouring threads share a row of weights:
// thread j owns accumulator j, so it takes blocks j, j + 8, j + 16, ... whole, without a word to
// the others until the accumulators are folded. A block of 256 threads computes 32 rows of a
// matrix, or the 32 hidden values of a gate and an up matrix that are one block of activations for
// the next; where a single small matrix would leave most of the device idle, blocks are smaller.
#pragma once

#include "kernels/gpu/gate.cuh"
#include "kernels/gpu/product.h"
#include "kernels/gpu/quantize.cuh"
#include "kernels/gpu/unpack_grids.cuh"
#include "kernels/gpu/unpack_k.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

inline constexpr unsigned kProductThreads = 256;
inline constexpr unsigned kThreadsPerRow = kBlockAccumulators;
inline constexpr unsigned kRowsPerBlock = kProductThreads / kThreadsPerRow;
static_assert(kRowsPerBlock == kActivationBlock && kThreadsPerRow == kThreadsPerActivationBlock);

// The rows of activations that a row of weights is multiplied with.
template <unsigned kRows>
struct Inputs {
  const Activations* x;
  unsigned count;  // uniform over the block
  std::uint32_t row[kRows];
  float weight[kRows];  // 1, or what scales and values are multiplied with first
};

// The integer of a block in f32. Where it is below 2^24 the conversion is exact; NVFP4's is not, so
// that its two products, which are, are rounded when they are added (kernels/arithmetic.h).
template <WeightFormat format>
HEARTH_DEVICE float block_integer(const Weights32& w, const int (&dots)[2]) {
  if constexpr (format == WeightFormat::kNVFP4)
    return static_cast<float>(w.scales[0]) * static_cast<float>(dots[0]) +
           static_cast<float>(w.scales[1]) * static_cast<float>(dots[1]);
  else if constexpr (Codec<format>::kPart == 16)
    return static_cast<float>(w.scales[0] * dots[0] + w.scales[1] * dots[1]);
  else
    return static_cast<float>(w.scales[0] * (dots[0] + dots[1]));
}

// Adds the product of a block of weights with block b of a row of activations.
template <WeightFormat format>
HEARTH_DEVICE void add_block(const Weights32& w, const Activations& x, std::uint32_t x_row,
                             float weight, unsigned b, float& acc) {
  using C = Codec<format>;
  const std::uint64_t first = std::uint64_t{x_row} * x.stride + b * kActivationBlock;
  std::uint32_t codes[8];
  load_bytes<8, 16>(x.codes + first, codes);
  int dots[2] = {};
  for (unsigned i = 0; i < 8; ++i) dots[i / 4] = dot4(w.codes[i], codes[i], dots[i / 4]);

  const std::uint32_t both = load_word(x.sums + first / 16);
  const int sums[2] = {static_cast<std::int16_t>(both), static_cast<std::int16_t>(both >> 16)};
  for (unsigned half = 0; half < 2; ++half) dots[half] -= w.offset * sums[half];

  const float scale = x.scales[first / kActivationBlock] * weight;
  acc = fma(block_integer<format>(w, dots), w.d * scale, acc);
  if constexpr (C::kHasMinimum) {
    const int minimum = C::kPart == 16 ? w.minima[0] * sums[0] + w.minima[1] * sums[1]
                                       : w.minima[0] * (sums[0] + sums[1]);
    acc = fma(static_cast<float>(minimum), w.m * scale, acc);
  }
}

// A collective of eight neighbours: all get row · x.row(t) for each t.
template <WeightFormat format, unsigned kRows>
HEARTH_DEVICE void multiply_blocks(const std::uint8_t* row, std::uint32_t columns,
                                   const Inputs<kRows>& in, float (&out)[kRows]) {
  float acc[kRows] = {};
  for (unsigned b = thread_index() % kThreadsPerRow; b < columns / kActivationBlock;
       b += kThreadsPerRow) {
    Weights32 w;
    unpack(Format<format>{}, row, b, w);
    for (unsigned t = 0; t < kRows; ++t)
      if (t < in.count) add_block<format>(w, *in.x, in.row[t], in.weight[t], b, acc[t]);
  }
  for (unsigned t = 0; t < kRows; ++t) out[t] = group_sum<kThreadsPerRow>(acc[t]);
}

// Adds values i, i + 8, ... of a row of floats, which are all there, so that no load waits for
// another.
template <WeightFormat format, unsigned kCount, unsigned kRows>
HEARTH_DEVICE void add_strip(const std::uint8_t* row, std::uint32_t i, const Inputs<kRows>& in,
                             float (&acc)[kRows][2]) {
  float w[kCount];
  for (unsigned k = 0; k < kCount; ++k) w[k] = load_value<format>(row, i + k * kThreadsPerRow);
  for (unsigned t = 0; t < kRows; ++t) {
    if (t >= in.count) continue;
    const float* const from = in.x->values + std::uint64_t{in.row[t]} * in.x->stride + i;
    float x[kCount];
    for (unsigned k = 0; k < kCount; ++k) x[k] = from[k * kThreadsPerRow];
    for (unsigned k = 0; k < kCount; ++k)
      acc[t][k % 2] = fma(w[k], x[k] * in.weight[t], acc[t][k % 2]);
  }
}

// The same for float formats: thread j owns accumulators j and j + 8 of the sixteen.
template <WeightFormat format, unsigned kRows>
HEARTH_DEVICE void multiply_floats(const std::uint8_t* row, std::uint32_t columns,
                                   const Inputs<kRows>& in, float (&out)[kRows]) {
  constexpr unsigned kStrip = kRows == 1 ? 32 : 16;
  float acc[kRows][2] = {};
  std::uint32_t i = thread_index() % kThreadsPerRow;
  for (; i + (kStrip - 1) * kThreadsPerRow < columns; i += kStrip * kThreadsPerRow)
    add_strip<format, kStrip>(row, i, in, acc);
  for (; i + kThreadsPerRow < columns; i += 2 * kThreadsPerRow)
    add_strip<format, 2>(row, i, in, acc);
  if (i < columns) add_strip<format, 1>(row, i, in, acc);
  for (unsigned t = 0; t < kRows; ++t) out[t] = group_sum<kThreadsPerRow>(acc[t][0] + acc[t][1]);
}

// What a block of threads works on: a dense matrix with all rows of x, or an expert with its pairs.
struct ProductJob {
  const std::byte* matrices[2];
  std::uint32_t expert = 0;
  std::uint32_t begin = 0;  // the first row of y or of hidden
  std::uint32_t rows = 0;
};

HEARTH_DEVICE ProductJob job_of(const ProductTask& task) {
  if (task.jobs == nullptr) return {{task.dense[0], task.dense[1]}, 0, 0, task.x.rows};
  const ExpertJob& job = task.jobs[block_y()];
  const std::byte* first = job.matrices[task.job_matrix];
  const bool absent = first == nullptr;
  return {{first, job.matrices[1]}, job.expert, job.begin, absent ? 0 : job.rows};
}

template <unsigned kRows>
HEARTH_DEVICE Inputs<kRows> inputs_of(const ProductTask& task, const ProductJob& job) {
  Inputs<kRows> in{&task.x, job.rows, {}, {}};
  for (unsigned t = 0; t < kRows; ++t) {
    if (t >= job.rows) continue;
    const std::uint32_t pair = job.begin + t;
    in.row[t] = task.x_rows != nullptr ? task.x_rows[pair] : pair;
    in.weight[t] = task.x_weights != nullptr ? task.x_weights[pair] : 1.0f;
  }
  return in;
}

template <unsigned kRows>
HEARTH_DEVICE void add_terms(const OutputTerms& terms, const ProductTask& task,
                             const ProductJob& job, std::uint32_t row, float (&out)[kRows]) {
  if (terms.scale != nullptr)
    for (float& value : out) value = value * terms.scale[job.expert];
  if (terms.bias != nullptr)
    for (float& value : out)
      value = value + terms.bias[std::uint64_t{job.expert} * task.rows + row];
}

struct HiddenShared {
  float values[kMostProductRows][kActivationBlock];
};

// The 32 hidden values of each row, which lie in shared memory, to the activations of the next
// product: row t by the eight threads of group t.
HEARTH_DEVICE void store_hidden(const ProductTask& task, const ProductJob& job,
                                const HiddenShared& shared) {
  const unsigned group = thread_index() / kThreadsPerActivationBlock;
  const unsigned t = group % kMostProductRows;
  const unsigned in_block = thread_index() % kThreadsPerActivationBlock * kValuesPerThread;
  float x[kValuesPerThread] = {};
  if (group < job.rows)
    for (unsigned i = 0; i < kValuesPerThread; ++i) x[i] = shared.values[t][in_block + i];
  const QuantizedFour four = quantize_four(x);
  if (group < job.rows)
    store_four(task.hidden, job.begin + t, block_x() * kActivationBlock + in_block, x, four);
}

// Block (32 rows of the matrix, job).
template <WeightFormat format, unsigned kRows>
HEARTH_KERNEL(kProductThreads)
multiply(ProductTask task) {
  HEARTH_SHARED(HiddenShared, shared);
  const ProductJob job = job_of(task);
  if (job.rows == 0) return;  // the whole block
  HEARTH_ASSERT(job.rows <= kRows);

  const unsigned group = thread_index() / kThreadsPerRow;
  const std::uint32_t row = block_x() * (block_threads() / kThreadsPerRow) + group;
  const bool exists = row < task.rows;
  const std::uint32_t safe_row = exists ? row : task.rows - 1;
  const std::uint64_t row_bytes = std::uint64_t{task.columns} / traits(format).values_per_block *
                                  traits(format).bytes_per_block;
  const Inputs<kRows> in = inputs_of<kRows>(task, job);

  float gate[kRows] = {}, out[kRows] = {};
  HEARTH_NOT_UNROLLED
  for (unsigned m = 0; m < task.matrices; ++m) {
    for (unsigned t = 0; t < kRows; ++t) gate[t] = out[t];
    const std::byte* matrix = m == 0 ? job.matrices[0] : job.matrices[1];
    const auto* at = reinterpret_cast<const std::uint8_t*>(matrix) + safe_row * row_bytes;
    if constexpr (takes_quantized_activations(format))
      multiply_blocks<format>(at, task.columns, in, out);
    else
      multiply_floats<format>(at, task.columns, in, out);
    add_terms(m == 0 ? task.terms[0] : task.terms[1], task, job, safe_row, out);
  }

  const bool stores = thread_index() % kThreadsPerRow == 0;
  for (unsigned t = 0; t < kRows; ++t) {
    if (!stores || t >= job.rows) continue;
    if (task.matrices == 2)
      shared.values[t][group] = exists ? activate(task.activation, gate[t], out[t]) : 0.0f;
    else if (exists)
      task.y[(job.begin + t) * task.y_stride + row] = out[t];
  }
  if (task.matrices == 1) return;
  sync_threads();
  store_hidden(task, job, shared);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
