#include "tools/hearth/random_blocks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/cpu_kernels.h"

namespace hearth::tools {
namespace {

using kernels::WeightFormat;

std::vector<float> weights(WeightFormat format, double deviation, std::uint64_t seed,
                           std::size_t values) {
  const kernels::WeightFormatTraits& traits = kernels::traits(format);
  std::vector<std::byte> bytes(values / traits.values_per_block * traits.bytes_per_block);
  Random random(seed);
  RandomBlocks(format, deviation).fill(random, bytes);
  std::vector<float> out(values);
  const kernels::CpuKernels& scalar = kernels::cpu_kernels(kernels::InstructionSet::kScalar);
  scalar.dequantize[static_cast<std::size_t>(format)](
      bytes.data(), static_cast<std::uint32_t>(values), out.data());
  return out;
}

TEST(RandomBlocks, EveryFormatHasTheWantedMeanAndDeviation) {
  // n = 2^17 values in at least 512 blocks. What limits both figures is the number of independent
  // integer scales: at least one for 32 values, 4096 of them. A uniform scale s has a relative
  // deviation of s² below 1, so the mean square is known to 1/64 and the deviation to 1/128, as
  // is the one that the scales were chosen with, of a fourth of the values: 1/64. Five of the two
  // together: 0.09. The rounding of an f16 scale, at worst of a few units of 2^-24 for deviations
  // around 2^-9, adds 1 in 2 × 17 at worst (Q6_K: 2^-9 / 1366 = 24 × 2^-24), hence 0.03.
  // The mean of n values is known to deviation × sqrt(32 / n) where a sign is shared by a block
  // part; five of these are 0.08.
  constexpr std::size_t kValues = 1 << 17;
  for (const kernels::WeightFormatTraits& traits : kernels::kWeightFormats)
    for (const double deviation : {1.0, 0.0221, 0.0022}) {
      const std::vector<float> values = weights(traits.format, deviation, 7, kValues);
      double sum = 0, squares = 0;
      for (const float value : values) {
        ASSERT_TRUE(std::isfinite(value)) << traits.name;
        sum += value;
        squares += double{value} * value;
      }
      EXPECT_NEAR(sum / kValues, 0, 0.08 * deviation) << traits.name << " " << deviation;
      EXPECT_NEAR(std::sqrt(squares / kValues) / deviation, 1, 0.12)
          << traits.name << " " << deviation;
    }
}

TEST(RandomBlocks, ASeedDecidesEveryByte) {
  for (const kernels::WeightFormatTraits& traits : kernels::kWeightFormats) {
    EXPECT_EQ(weights(traits.format, 1, 3, 1024), weights(traits.format, 1, 3, 1024))
        << traits.name;
    EXPECT_NE(weights(traits.format, 1, 3, 1024), weights(traits.format, 1, 4, 1024))
        << traits.name;
  }
}

TEST(RandomBlocks, Q8CodesAreWhatAQuantizerWrites) {
  std::vector<std::byte> bytes(34 * 4096);
  Random random(1);
  RandomBlocks(WeightFormat::kQ8_0, 1).fill(random, bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i % 34 >= 2) {
      ASSERT_NE(bytes[i], std::byte{0x80}) << i;
    }
  }
}

}  // namespace
}  // namespace hearth::tools
