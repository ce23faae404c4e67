// The specified arithmetic of a product of weights with activations.
//
// Every kernel on every instruction set and device follows this order bit for bit, for one row of
// activations and for many. It is what makes a logit independent of where an expert is computed,
// of the number of threads, and of how tokens were batched. Built with -ffp-contract=off: a fused
// multiply-add happens where one is written, and nowhere else.
//
// Quantized activations. A row of f32 is cut into blocks of 32. Per block:
//   amax  = the largest |x|, compared as unsigned integers of the bits without sign
//   scale = amax / 127 in f32
//   amax not finite:          scale = NaN, all codes 0   (the NaN must reach the logits check)
//   scale < FLT_MIN:          scale = 0, all codes 0
//   else code = round half to even of x / scale (an f32 division); |code| <= 127
//   two sums of 16 codes each, exact (int16).
//
// A product with a block format. Let the activation blocks of a row be b = 0, 1, 2, ... For each:
//   I = the dot product of the 32 weight codes with the activation codes. Where the format carries
//       integer scales inside its block (the K-quants and i-quants), I is the sum over the parts of
//       32 that share such a scale of (integer scale × dot product of the part). Exact in int32;
//       every supported format stays below 2^24, so its conversion to f32 is exact too. But NVFP4,
//       whose scales have four bits times a power of two: there each of the two products is exact
//       in f32, and I, up to 2^33, is rounded once when it is converted, or when they are added.
//   D = d_w × scale, one rounded f32 product, where d_w is the f32 value of the block's float scale
//   acc[b mod 8] = fma(f32(I), D, acc[b mod 8])
//   Formats with a minimum (Q4_1, Q5_1: + m; Q2_K, Q4_K, Q5_K: - dmin × integer minimum) then add
//   M = sum over the parts of (integer minimum × sum of the part's activation codes), integer
//       minimum 1 for Q4_1 and Q5_1, and E = m_w × scale, one rounded product (m_w = m, or -dmin):
//   acc[b mod 8] = fma(f32(M), E, acc[b mod 8])
// Codes are the signed values of the format (Q4_0: 0..15 minus 8, Q6_K: 0..63 minus 32, IQ4_NL and
// the FP4 formats: the table entry, which for these is doubled, with d_w = 2^(e-128) for MXFP4 and
// 2^-10 for NVFP4).
// The result is fold8(acc). Accumulators that no block touched are +0.
//
// A product with a float format (F32, F16, BF16), over the f32 activations:
//   acc[i mod 16] = fma(w_i, x_i, acc[i mod 16]) for i = 0, 1, 2, ...; the result is fold16(acc).
//
// Why 8: the blocks of a 256-value K-quant are one 256-bit register of accumulators, and on a GPU
// eight lanes can each own whole blocks of a row without a shuffle inside the loop.
#pragma once

namespace hearth::kernels {

inline constexpr int kActivationBlock = 32;
inline constexpr int kBlockAccumulators = 8;
inline constexpr int kFloatAccumulators = 16;
// Rows of quantized activations are padded with zero blocks to a multiple of this many values.
inline constexpr int kActivationPadding = kActivationBlock * kBlockAccumulators;

constexpr float fold8(const float* acc) {
  const float a = acc[0] + acc[4], b = acc[1] + acc[5], c = acc[2] + acc[6], d = acc[3] + acc[7];
  const float even = a + c, odd = b + d;
  return even + odd;
}

inline float fold16(const float* acc) {
  float half[8];
  for (int i = 0; i < 8; ++i) half[i] = acc[i] + acc[i + 8];
  return fold8(half);
}

}  // namespace hearth::kernels
