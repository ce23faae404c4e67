// KVarN: a slice of a tile, 128 positions × up to 128 channels, to codes of 2 to 8 bits.
//
// Positions and channels are first scaled in turn until all have much the same deviation (Sinkhorn
// & Knopp 1967), so that neither a loud position nor a loud channel costs the others precision.
// With T the matrix whose rows are what has a scale and a zero of its own (channels of keys,
// positions of values) and whose columns are the other dimension, all in f32:
//
//   s_row = s_col = 1, best = these, i_best = imbalance(T)
//   16 times:  s_col *= clamp(deviation of each column of T / s_col / s_row, 1e-3, 1e3)
//              s_row *= clamp(deviation of each row likewise, 1e-3, 1e3)
//              both clamped to [e^-0.3, e^10] after each product
//              where imbalance(T / s_col / s_row) <= i_best: best = s_row, s_col; i_best = it
//   imbalance = largest / max(least, 1e-8) of the columns' deviations + that of the rows'
//   deviation = the square root of Σ (x - mean)² / (n - 1)
//   B = T / s_col / s_row with the best; for each row lo, hi = its least and largest value,
//   step = max((hi - lo) / (2^bits - 1), 1e-10), code = clamp(round((B - lo) / step))
//   scale = s_row × step, zero = s_row × (lo + 2^(bits - 1) × step), other = s_col, as f16
//
// So value = ((code - 2^(bits - 1)) × scale + zero) × other; codes of 8 bits are stored without
// their offset, in two's complement. Nothing but additions, products, quotients and square roots
// are used, so that codes are the same everywhere.
#pragma once

#include "kernels/kv/kv_format.h"

namespace hearth::kernels {

// `rows`: [128 positions][stride], of which the first `channels` are the slice. Values that are not
// finite make the slice NaN.
void encode_kvarn(KvFormat format, KvPart part, const float* rows, std::uint32_t channels,
                  std::uint32_t stride, std::byte* slice);
void decode_kvarn(KvFormat format, KvPart part, const std::byte* slice, std::uint32_t channels,
                  std::uint32_t stride, float* rows);

}  // namespace hearth::kernels
