// The products of kernels/arithmetic.h on a GPU. One kernel has all formats, so that matrices of
// several are one launch: a branch that all threads of a matrix take alike. Eight neighbouring
// threads share a row of weights: thread j owns accumulator j, so it takes blocks j, j + 8, j + 16,
// ... whole, without a word to the others until the accumulators are folded. A block computes 32
// rows of a matrix by 256 threads, or by twice as many the 32 hidden values of a gate and an up
// matrix that are one block of activations for the next; where a single small matrix would leave
// most of the device idle, blocks are smaller.
#pragma once

#include "kernels/gpu/ahead.cuh"
#include "kernels/gpu/gate.cuh"
#include "kernels/gpu/product.h"
#include "kernels/gpu/quantize.cuh"
#include "kernels/gpu/unpack_grids.cuh"
#include "kernels/gpu/unpack_k.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

inline constexpr unsigned kProductThreads = 256;  // for a matrix
inline constexpr unsigned kMostMatrices = 2;
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

// A block of a row of activations.
struct Inputs32 {
  std::uint32_t codes[8];
  std::uint32_t sums;  // of the halves
  float scale;
};
HEARTH_DEVICE Inputs32 load_inputs(const Activations& x, std::uint32_t x_row, unsigned b) {
  const std::uint64_t first = std::uint64_t{x_row} * x.stride + b * kActivationBlock;
  Inputs32 in;
  load_bytes<8, 16>(x.codes + first, in.codes);
  in.sums = load_word(x.sums + first / 16);
  in.scale = float_of(load_word(x.scales + first / kActivationBlock));
  return in;
}

// Adds the product of a block of weights with one of activations.
template <WeightFormat format>
HEARTH_DEVICE void add_block(const Weights32& w, const Inputs32& in, float weight, float& acc) {
  using C = Codec<format>;
  int dots[2] = {};
  for (unsigned i = 0; i < 8; ++i) dots[i / 4] = dot4(w.codes[i], in.codes[i], dots[i / 4]);
  const int sums[2] = {static_cast<std::int16_t>(in.sums),
                       static_cast<std::int16_t>(in.sums >> 16)};
  for (unsigned half = 0; half < 2; ++half) dots[half] -= w.offset * sums[half];

  const float scale = in.scale * weight;
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
      if (t < in.count)
        add_block<format>(w, load_inputs(*in.x, in.row[t], b), in.weight[t], acc[t]);
  }
  for (unsigned t = 0; t < kRows; ++t) out[t] = group_sum<kThreadsPerRow>(acc[t]);
}

// The same for one row, where little else hides how long memory takes.
template <WeightFormat format>
HEARTH_DEVICE void multiply_blocks(const std::uint8_t* row, std::uint32_t columns,
                                   const Inputs<1>& in, float (&out)[1]) {
  constexpr unsigned kTogether = kBlocksTogether<format>;
  const unsigned blocks = columns / kActivationBlock, own = thread_index() % kThreadsPerRow;
  float acc = 0;
  for (unsigned first = 0; first < blocks; first += kTogether * kThreadsPerRow) {
    Weights32 w[kTogether];
    Inputs32 x[kTogether];
    for (unsigned k = 0; k < kTogether; ++k) {
      const unsigned b = first + k * kThreadsPerRow + own;
      const unsigned present = b < blocks ? b : blocks - 1;
      unpack(Format<format>{}, row, present, w[k]);
      x[k] = load_inputs(*in.x, in.row[0], present);
    }
    after_loads();
    for (unsigned k = 0; k < kTogether; ++k) {
      float next = acc;
      add_block<format>(w[k], x[k], in.weight[0], next);
      acc = first + k * kThreadsPerRow + own < blocks ? next : acc;
    }
  }
  out[0] = group_sum<kThreadsPerRow>(acc);
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
  std::uint32_t part = 0;  // of a dense matrix
};

HEARTH_DEVICE ProductJob job_of(const ProductTask& task, unsigned index) {
  if (task.jobs == nullptr)
    return {.matrices = {task.dense[0] + index * task.part_bytes, task.dense[1]},
            .rows = task.x.rows / task.parts,
            .part = index};
  const ExpertJob& job = task.jobs[index];
  const std::byte* first = job.matrices[task.job_matrix];
  const bool absent = first == nullptr;
  return {{first, job.matrices[1]}, job.expert, job.begin, absent ? 0 : job.rows};
}

// The row of x that a row of the job, or a pair, is made of.
HEARTH_DEVICE std::uint32_t input_row(const ProductTask& task, const ProductJob& job,
                                      std::uint32_t pair) {
  return task.x_rows != nullptr ? task.x_rows[pair] : pair * task.parts + job.part;
}

HEARTH_DEVICE float* output_row(const ProductTask& task, const ProductJob& job,
                                std::uint32_t pair) {
  return task.y + pair * task.y_stride + job.part * task.y_part_stride;
}

template <unsigned kRows>
HEARTH_DEVICE Inputs<kRows> inputs_of(const ProductTask& task, const ProductJob& job) {
  Inputs<kRows> in{&task.x, job.rows, {}, {}};
  for (unsigned t = 0; t < kRows; ++t) {
    if (t >= job.rows) continue;
    const std::uint32_t pair = job.begin + t;
    in.row[t] = input_row(task, job, pair);
    in.weight[t] = task.x_weights != nullptr ? task.x_weights[pair] : 1.0f;
  }
  return in;
}

// They are read when a row is summed up, which is late to begin to wait for memory.
HEARTH_DEVICE void prefetch_terms(const OutputTerms& terms, const ProductTask& task,
                                  const ProductJob& job, std::uint32_t row) {
  if (terms.bias != nullptr && thread_index() % kThreadsPerRow == 0)
    prefetch(terms.bias + std::uint64_t{job.expert} * task.rows + row);
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

// What a gate and an up matrix give.
struct HiddenShared {
  float values[2][kMostProductRows][kActivationBlock];
};

// The 32 hidden values, of a block, of each row to the activations of the next product: row t by
// the eight threads of group t.
HEARTH_DEVICE void store_hidden(const ProductTask& task, const ProductJob& job, std::uint32_t block,
                                const HiddenShared& shared) {
  const unsigned group = thread_index() / kThreadsPerActivationBlock;
  const unsigned t = group % kMostProductRows;
  const unsigned in_block = thread_index() % kThreadsPerActivationBlock * kValuesPerThread;
  const std::uint32_t first = block * kActivationBlock + in_block;
  float x[kValuesPerThread] = {};
  if (group < job.rows)
    for (unsigned i = 0; i < kValuesPerThread; ++i)
      if (first + i < task.rows)
        x[i] = activate(task.activation, shared.values[0][t][in_block + i],
                        shared.values[1][t][in_block + i]);
  const QuantizedFour four = quantize_four(x);
  if (group < job.rows) store_four(task.hidden, job.begin + t, first, x, four);
}

// The blocks of a launch: of one product after the other, of each the jobs, of each the rows of a
// matrix.
struct ProductBlocks {
  std::uint32_t first[kMostProducts];   // of a product
  std::uint32_t of_job[kMostProducts];  // blocks of rows
  std::uint32_t row_bytes[kMostProducts];
};

struct ProductPlace {
  std::uint32_t product;
  std::uint32_t job;
  std::uint32_t rows;  // which of the blocks of rows
  std::uint32_t row_bytes;
};

HEARTH_DEVICE ProductPlace place_of(const ProductBlocks& blocks, std::uint32_t count) {
  ProductPlace place{.row_bytes = blocks.row_bytes[0]};
  std::uint32_t first = 0, of_job = blocks.of_job[0];
  for (std::uint32_t i = 1; i < kMostProducts; ++i) {
    if (i >= count || block_x() < blocks.first[i]) continue;
    place.product = i;
    first = blocks.first[i];
    of_job = blocks.of_job[i];
    place.row_bytes = blocks.row_bytes[i];
  }
  const std::uint32_t in_product = block_x() - first;
  place.job = in_product / of_job;
  place.rows = in_product - place.job * of_job;
  return place;
}

template <WeightFormat format, unsigned kRows>
HEARTH_DEVICE void multiply_row(const std::byte* matrix, std::uint32_t row, std::uint32_t columns,
                                const Inputs<kRows>& in, float (&out)[kRows]) {
  const std::uint64_t row_bytes =
      std::uint64_t{columns} / traits(format).values_per_block * traits(format).bytes_per_block;
  const auto* const at = reinterpret_cast<const std::uint8_t*>(matrix) + row * row_bytes;
  if constexpr (takes_quantized_activations(format))
    multiply_blocks<format>(at, columns, in, out);
  else
    multiply_floats<format>(at, columns, in, out);
}

template <unsigned kRows>
HEARTH_DEVICE void multiply_row(WeightFormat format, const std::byte* matrix, std::uint32_t row,
                                std::uint32_t columns, const Inputs<kRows>& in,
                                float (&out)[kRows]) {
  switch (format) {
#define WEIGHT_FORMAT(Name, text, values, bytes, id) \
  case WeightFormat::k##Name:                        \
    return multiply_row<WeightFormat::k##Name>(matrix, row, columns, in, out);
#include "kernels/quant/formats.def"
#undef WEIGHT_FORMAT
  }
}

// The rows of a dense matrix that a block multiplies, one behind the other in memory. What experts
// they are of is known when the launch before is over; these never change.
HEARTH_DEVICE void prefetch_rows(const ProductTask& task, const ProductPlace& place) {
  if (task.jobs != nullptr) return;
  const unsigned threads = block_threads() / task.matrices;
  const unsigned m = thread_index() / threads, rows = threads / kThreadsPerRow;
  const std::uint32_t begin = place.rows * rows;
  const std::uint32_t end = begin + rows < task.rows ? begin + rows : task.rows;
  const std::byte* const matrix =
      (m == 0 ? task.dense[0] : task.dense[1]) + place.job * task.part_bytes;
  prefetch_bytes(matrix + std::uint64_t{begin} * place.row_bytes, (end - begin) * place.row_bytes,
                 thread_index() % threads, threads);
}

// Block (32 rows of a matrix, job), where there are two matrices with 256 threads for each. The
// bounds leave a thread 128 registers, on which loads can be under way.
template <unsigned kRows>
HEARTH_KERNEL(kMostMatrices* kProductThreads, 1)
multiply(HEARTH_ARGUMENT(Products) argument, ProductBlocks blocks) {
  const Products& products = in_place(argument);
  const ProductPlace place = place_of(blocks, products.count);
  const ProductTask& task = products.tasks[place.product];
  if constexpr (begins_early()) prefetch_rows(task, place);
  wait_for_previous();
  HEARTH_SHARED(HiddenShared, shared);
  const ProductJob job = job_of(task, place.job);
  if (job.rows == 0) return;  // the whole block
  HEARTH_ASSERT(job.rows <= kRows);

  const unsigned threads = block_threads() / task.matrices;
  const unsigned m = thread_index() / threads, group = thread_index() % threads / kThreadsPerRow;
  const std::uint32_t row = place.rows * (threads / kThreadsPerRow) + group;
  const bool exists = row < task.rows;
  const std::uint32_t safe_row = exists ? row : task.rows - 1;
  prefetch_terms(m == 0 ? task.terms[0] : task.terms[1], task, job, safe_row);
  const Inputs<kRows> in = inputs_of<kRows>(task, job);

  float out[kRows] = {};
  multiply_row(task.format, m == 0 ? job.matrices[0] : job.matrices[1], safe_row, task.columns, in,
               out);
  add_terms(m == 0 ? task.terms[0] : task.terms[1], task, job, safe_row, out);

  const bool stores = thread_index() % kThreadsPerRow == 0 && exists;
  for (unsigned t = 0; t < kRows; ++t) {
    if (!stores || t >= job.rows) continue;
    if (task.matrices == 2)
      shared.values[m][t][group] = out[t];
    else
      output_row(task, job, job.begin + t)[row] = out[t];
  }
  if (task.matrices == 1) return;
  sync_threads();
  store_hidden(task, job, place.rows, shared);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
