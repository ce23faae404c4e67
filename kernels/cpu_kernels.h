// Every operation of the CPU, one filled table per instruction set.
//
// kernels/cpu/scalar is the specification; avx2 and avx512 give the same bits. A table has no empty
// entry: where an instruction set has no kernel of its own for a format it points at the next
// simpler one, and `origin` says which, so that a slow path is visible at start-up.
// All functions are pure, allocate nothing and may run on several threads at once.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/activations.h"
#include "kernels/attention.h"
#include "kernels/delta_net.h"
#include "kernels/weight_format.h"

namespace hearth::kernels {

struct RowRange {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
};

// y[t * y_stride + (r - rows.begin)] = weights.row(r) · x.row(t), for r in rows and every row t of
// x.
using MatmulFn = void (*)(const WeightMatrix& weights, RowRange rows, const Activations& x,
                          float* y, std::size_t y_stride);

struct CpuKernels {
  std::string_view name;  // "scalar", "avx2", "avx512"

  std::array<MatmulFn, kWeightFormatCount> matmul;
  std::array<std::string_view, kWeightFormatCount> matmul_origin;  // which table the entry is from

  // Rows of weights to f32, exactly as the format defines them (embedding look-up).
  // `n` is a multiple of values_per_block.
  using DequantizeFn = void (*)(const std::byte* row, std::uint32_t n, float* out);
  std::array<DequantizeFn, kWeightFormatCount> dequantize;

  // f32 → codes, scales, sums (kernels/arithmetic.h). `n` need not be a multiple of 32: the last
  // block is completed with zeros, for which the destinations must have room.
  void (*quantize)(const float* x, std::uint32_t n, std::int8_t* codes, float* scales,
                   std::int16_t* sums);

  // y = x × weight / sqrt(mean(x²) + epsilon). Zhang & Sennrich 2019. x may equal y; without a
  // weight (null) it is 1.
  void (*rms_norm)(const float* x, const float* weight, std::uint32_t n, float epsilon, float* y);

  // Rotates pairs (x[i], x[i + half]) by angles given as cos and sin [half]. Su et al. 2021, with
  // halves as in GPT-NeoX. Entries from 2 × half on stay as they are.
  void (*rope_halves)(float* x, const float* cosine, const float* sine, std::uint32_t half);
  // The same for neighbours, (x[2i], x[2i + 1]), as in the paper.
  void (*rope_pairs)(float* x, const float* cosine, const float* sine, std::uint32_t half);

  // Gated activations, out = f(gate, up); exp is the polynomial of kernels/cpu/exp.h.
  //   silu:    gate / (1 + exp(-gate)) × up
  //   gelu:    gate / (1 + exp(-2u)) × up, u = sqrt(2 / pi) × (gate + 0.044715 × gate³): the form
  //            with tanh, Hendrycks & Gimpel 2016
  //   clamped: g / (1 + exp(-1.702 × g)) × (u + 1), g = min(gate, 7), u = up within ±7 (gpt-oss)
  using GatedFn = void (*)(const float* gate, const float* up, std::uint32_t n, float* out);
  GatedFn silu_multiply;
  GatedFn gelu_multiply;
  GatedFn clamped_multiply;

  void (*sigmoid)(float* x, std::uint32_t n);  // in place: 1 / (1 + exp(-x))
  // In place: cap × tanh(x / cap), with tanh(y) = 1 - 2 / (1 + exp(2y)).
  void (*softcap)(float* x, std::uint32_t n, float cap);

  // y = y / (1 + exp(-gate)): y × sigmoid(gate).
  void (*sigmoid_multiply)(const float* gate, std::uint32_t n, float* y);

  // In place: exp(x - max) / sum.
  void (*softmax)(float* x, std::uint32_t n);

  void (*add)(const float* x, std::uint32_t n, float* y);  // y += x
  void (*scale)(float factor, std::uint32_t n, float* y);  // y *= factor
  void (*add_scaled)(const float* x, float factor, std::uint32_t n,
                     float* y);  // y = fma(x, factor, y)

  // kernels/attention.h: one chunk; a later chunk's state into an earlier one's; the result of one
  // query, `sink` -infinity where there is none.
  void (*attend)(const AttentionTask& task, const AttentionState& state);
  void (*merge_attention)(std::uint32_t queries, std::uint32_t value_dim,
                          const AttentionState& chunk, const AttentionState& into);
  void (*finish_attention)(float maximum, float sum, float sink, const float* output,
                           std::uint32_t value_dim, float* result);
  // The orthonormal Walsh-Hadamard transform of each `size` (a power of two) of n values.
  void (*rotate)(float* x, std::uint32_t n, std::uint32_t size);

  // kernels/delta_net.h
  void (*convolve)(const ConvolutionTask& task);
  void (*update_delta)(const DeltaTask& task);
  // y = x × scale / max(|x|, epsilon), |x| the Euclidean length. x may equal y.
  void (*l2_norm)(const float* x, std::uint32_t n, float epsilon, float scale, float* y);

  // Neither infinite nor NaN anywhere (one cheap pass over the logits of a token).
  bool (*all_finite)(const float* x, std::uint32_t n);
};

enum class InstructionSet { kScalar, kAvx2, kAvx512 };
std::optional<InstructionSet> parse_instruction_set(std::string_view name);
std::string_view name_of(InstructionSet set);

// The best this CPU runs, read from cpuid (AVX-512 needs F, BW, DQ, VL and VNNI; AVX2 needs FMA,
// F16C and BMI2), or the one in the environment variable HEARTH_CPU (scalar, avx2, avx512): an
// Error where its value is unknown or cannot run here. A build with HEARTH_SCALAR_ONLY has only
// scalar.
InstructionSet best_instruction_set();
bool supported(InstructionSet set);
// Whether this CPU gathers eight values faster than it loads them one by one: Intel's with AVX-512,
// unless their microcode slows gathers down against data sampling. Not AMD's.
bool gathers_are_fast();
// Whether attention asks the first cache of this CPU for what it reads next, rather than the
// second, which on AMD's leaves a good part of the time that memory takes (kernels/kv/README.md).
bool prefetches_into_first_cache();
const CpuKernels& cpu_kernels(InstructionSet set);  // CHECKs that it is supported

}  // namespace hearth::kernels
