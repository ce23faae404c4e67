// The specification of the products of kernels/arithmetic.h, one template over the formats. Written
// to be read: the integer sums run value by value, the float part is the arithmetic's own order.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/cpu/fill.h"
#include "kernels/quant/codecs.h"

namespace hearth::kernels {
namespace {

// Rows of activations that share one decode of a weight block.
constexpr std::uint32_t kTokenTile = 16;

template <typename Block>
Block load(const std::byte* at) {
  Block block;  // a copy: data may start at any address
  std::memcpy(&block, at, sizeof(Block));
  return block;
}

// Adds the products of one weight block with the activation blocks from `first` on of a token.
template <WeightFormat format>
void multiply_block(const Decoded<format>& weights, const Activations& x, std::uint32_t token,
                    std::uint32_t first, float* acc) {
  using C = Codec<format>;
  constexpr int kParts = kActivationBlock / C::kPart;
  const std::int8_t* codes = x.codes + std::size_t{token} * x.stride;
  const float* scales = x.scales + std::size_t{token} * (x.stride / 32);
  const std::int16_t* sums = x.sums + std::size_t{token} * (x.stride / 16);

  for (std::uint32_t i = 0; i < traits(format).values_per_block / kActivationBlock; ++i) {
    const std::uint32_t b = first + i;
    std::int64_t product = 0;
    std::int32_t minimum = 0;
    for (int p = 0; p < kParts; ++p) {
      const std::uint32_t part = i * kParts + static_cast<std::uint32_t>(p);
      std::int32_t dot = 0;
      for (int k = 0; k < C::kPart; ++k)
        dot += weights.codes[part * C::kPart + k] * codes[b * kActivationBlock + p * C::kPart + k];
      const std::int32_t sum = C::kPart == 16 ? sums[2 * b + p] : sums[2 * b] + sums[2 * b + 1];
      product += std::int64_t{weights.scales[part]} * dot;
      minimum += weights.minima[part] * sum;
    }
    float& a = acc[b % kBlockAccumulators];
    a = std::fma(static_cast<float>(product), weights.d * scales[b], a);
    if constexpr (C::kHasMinimum)
      a = std::fma(static_cast<float>(minimum), weights.m * scales[b], a);
  }
}

template <WeightFormat format>
void matmul_blocks(const WeightMatrix& weights, RowRange rows, const Activations& x, float* y,
                   std::size_t y_stride) {
  using Block = typename Codec<format>::Block;
  constexpr std::uint32_t kValues = traits(format).values_per_block;

  for (std::uint32_t begin = 0; begin < x.rows; begin += kTokenTile) {
    const std::uint32_t tokens = std::min(kTokenTile, x.rows - begin);
    for (std::uint32_t r = rows.begin; r < rows.end; ++r) {
      float acc[kTokenTile][kBlockAccumulators] = {};
      const std::byte* row = weights.row(r);
      for (std::uint32_t j = 0; j < weights.columns / kValues; ++j) {
        Decoded<format> block;
        Codec<format>::decode(load<Block>(row + j * sizeof(Block)), block);
        for (std::uint32_t t = 0; t < tokens; ++t)
          multiply_block<format>(block, x, begin + t, j * (kValues / kActivationBlock), acc[t]);
      }
      for (std::uint32_t t = 0; t < tokens; ++t)
        y[(begin + t) * y_stride + (r - rows.begin)] = fold8(acc[t]);
    }
  }
}

template <WeightFormat format>
void matmul_floats(const WeightMatrix& weights, RowRange rows, const Activations& x, float* y,
                   std::size_t y_stride) {
  using Block = typename Codec<format>::Block;
  for (std::uint32_t r = rows.begin; r < rows.end; ++r) {
    const std::byte* row = weights.row(r);
    for (std::uint32_t t = 0; t < x.rows; ++t) {
      const float* values = x.values + std::size_t{t} * x.stride;
      float acc[kFloatAccumulators] = {};
      for (std::uint32_t i = 0; i < weights.columns; ++i) {
        float& a = acc[i % kFloatAccumulators];
        a = std::fma(Codec<format>::decode(load<Block>(row + i * sizeof(Block))), values[i], a);
      }
      y[t * y_stride + (r - rows.begin)] = fold16(acc);
    }
  }
}

template <WeightFormat format>
void dequantize(const std::byte* row, std::uint32_t n, float* out) {
  using C = Codec<format>;
  using Block = typename C::Block;
  constexpr std::uint32_t kValues = traits(format).values_per_block;
  for (std::uint32_t j = 0; j < n / kValues; ++j) {
    const Block stored = load<Block>(row + j * sizeof(Block));
    if constexpr (kValues == 1) {
      out[j] = C::decode(stored);
    } else {
      Decoded<format> block;
      C::decode(stored, block);
      for (std::uint32_t i = 0; i < kValues; ++i) {
        const std::uint32_t part = i / C::kPart;
        float value = block.d * static_cast<float>(block.scales[part]) * block.codes[i];
        if constexpr (C::kHasMinimum) value += block.m * block.minima[part];
        out[j * kValues + i] = value;
      }
    }
  }
}

template <WeightFormat format>
void fill_format(CpuKernels& table) {
  const auto i = static_cast<std::size_t>(format);
  if constexpr (takes_quantized_activations(format))
    table.matmul[i] = matmul_blocks<format>;
  else
    table.matmul[i] = matmul_floats<format>;
  table.matmul_origin[i] = "scalar";
  table.dequantize[i] = dequantize<format>;
}

void quantize_block(const float* x, std::int8_t* codes, float* scale, std::int16_t* sums) {
  std::uint32_t largest = 0;
  for (int i = 0; i < kActivationBlock; ++i)
    largest = std::max(largest, std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu);
  const float amax = std::bit_cast<float>(largest);

  *scale = amax / 127;
  if (!std::isfinite(amax)) *scale = std::numeric_limits<float>::quiet_NaN();
  if (*scale < std::numeric_limits<float>::min()) *scale = 0;
  const bool usable = *scale > 0;  // neither NaN nor 0

  sums[0] = sums[1] = 0;
  for (int i = 0; i < kActivationBlock; ++i) {
    codes[i] = usable ? static_cast<std::int8_t>(std::nearbyint(x[i] / *scale)) : std::int8_t{0};
    sums[i / 16] = static_cast<std::int16_t>(sums[i / 16] + codes[i]);
  }
}

void quantize(const float* x, std::uint32_t n, std::int8_t* codes, float* scales,
              std::int16_t* sums) {
  for (std::uint32_t i = 0; i < n; i += kActivationBlock) {
    float block[kActivationBlock] = {};
    std::copy_n(x + i, std::min<std::uint32_t>(kActivationBlock, n - i), block);
    quantize_block(block, codes + i, scales + i / 32, sums + i / 16);
  }
}

}  // namespace

void fill_matmul_scalar(CpuKernels& table) {
#define WEIGHT_FORMAT(Name, text, values, bytes, id) fill_format<WeightFormat::k##Name>(table);
#include "kernels/quant/formats.def"
#undef WEIGHT_FORMAT
  table.quantize = quantize;
}

}  // namespace hearth::kernels
