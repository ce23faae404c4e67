#include "tools/hearth/random_blocks.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <optional>

#include "base/check.h"
#include "kernels/quant/codecs.h"

namespace hearth::tools {
namespace {

using kernels::Codec;
using kernels::f16_of_f32;
using kernels::WeightFormat;

template <WeightFormat format>
using Block = typename Codec<format>::Block;

// What to do with a block of random bytes to make it one of weights with mean 0. The sign of the
// scale is random per block, which cancels the mean of codes like -8..7.
struct Recipe {
  WeightFormat format;
  std::size_t scale_at;                                  // where the f16 scale lies
  std::optional<std::size_t> minimum_at = std::nullopt;  // and the f16 scale of the minima
  double minimum_factor = 0;                             // in scales: minus the mean code
  void (*adjust)(std::uint8_t* block) = [](std::uint8_t*) {};
  void (*set_scale)(std::uint8_t* at, std::uint16_t scale) =
      [](std::uint8_t* at, std::uint16_t scale) { std::memcpy(at, &scale, sizeof scale); };
};

// IQ1_M has its scale in the high nibbles of four words.
void scatter_scale(std::uint8_t* at, std::uint16_t scale) {
  for (int i = 0; i < 4; ++i) {
    std::uint8_t& high = at[2 * i + 1];
    high = static_cast<std::uint8_t>((high & 15) | ((scale >> (4 * i)) & 15) << 4);
  }
}
void leave(std::uint8_t*) {}

// No quantizer writes -128.
void avoid_lowest_code(std::uint8_t* block) {
  std::uint8_t* codes = block + offsetof(Block<WeightFormat::kQ8_0>, codes);
  for (int i = 0; i < 32; ++i) codes[i] = codes[i] == 0x80 ? 0 : codes[i];
}

// Each minimum equal to its scale, so that every part has mean 0 by itself.
void pair_nibbles(std::uint8_t* begin, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    begin[i] = static_cast<std::uint8_t>((begin[i] & 15) * 0x11);
}

void pair_q2_k_minima(std::uint8_t* block) { pair_nibbles(block, 16); }

template <WeightFormat format>
void pair_six_bit_minima(std::uint8_t* block) {
  std::uint8_t* packed = block + offsetof(Block<format>, scales);
  std::memcpy(packed + 4, packed, 4);
  pair_nibbles(packed + 8, 4);
}

#define SCALE_OF(format) WeightFormat::format, offsetof(Block<WeightFormat::format>, d)
#define MINIMUM_OF(format, member) offsetof(Block<WeightFormat::format>, member)
constexpr Recipe kRecipes[] = {
    {SCALE_OF(kQ8_0), std::nullopt, 0, avoid_lowest_code},
    {SCALE_OF(kQ4_0)},
    {SCALE_OF(kQ4_1), MINIMUM_OF(kQ4_1, m), -7.5},
    {SCALE_OF(kQ5_0)},
    {SCALE_OF(kQ5_1), MINIMUM_OF(kQ5_1, m), -15.5},
    {SCALE_OF(kQ2_K), MINIMUM_OF(kQ2_K, dmin), 1.5, pair_q2_k_minima},
    {SCALE_OF(kQ3_K)},
    {SCALE_OF(kQ4_K), MINIMUM_OF(kQ4_K, dmin), 7.5, pair_six_bit_minima<WeightFormat::kQ4_K>},
    {SCALE_OF(kQ5_K), MINIMUM_OF(kQ5_K, dmin), 15.5, pair_six_bit_minima<WeightFormat::kQ5_K>},
    {SCALE_OF(kQ6_K)},
    {SCALE_OF(kIQ1_S)},
    {WeightFormat::kIQ1_M, offsetof(Block<WeightFormat::kIQ1_M>, scales), std::nullopt, 0, leave,
     scatter_scale},
    {SCALE_OF(kIQ2_XXS)},
    {SCALE_OF(kIQ2_XS)},
    {SCALE_OF(kIQ2_S)},
    {SCALE_OF(kIQ3_XXS)},
    {SCALE_OF(kIQ3_S)},
    {SCALE_OF(kIQ4_NL)},
    {SCALE_OF(kIQ4_XS)},
};
#undef SCALE_OF
#undef MINIMUM_OF

const Recipe* find_recipe(WeightFormat format) {
  for (const Recipe& recipe : kRecipes)
    if (recipe.format == format) return &recipe;
  return nullptr;  // a float format, MXFP4 or NVFP4
}

void fill_random(Random& random, std::uint8_t* bytes, std::size_t count) {
  for (; count >= 8; bytes += 8, count -= 8) {
    const std::uint64_t word = random.next();
    std::memcpy(bytes, &word, 8);
  }
  const std::uint64_t word = random.next();
  std::memcpy(bytes, &word, count);
}

// The sign of both scales is one random bit: the weights change sign, nothing else.
void fill_block(const Recipe& recipe, Random& random, std::uint16_t scale, std::uint16_t minimum,
                std::uint8_t* block) {
  fill_random(random, block, kernels::traits(recipe.format).bytes_per_block);
  const std::uint16_t sign = static_cast<std::uint16_t>((block[recipe.scale_at] & 1u) << 15);
  recipe.adjust(block);
  scale ^= sign;
  recipe.set_scale(block + recipe.scale_at, scale);
  if (!recipe.minimum_at) return;
  minimum ^= sign;
  std::memcpy(block + *recipe.minimum_at, &minimum, 2);
}

template <WeightFormat format>
double sum_of_squares(const std::uint8_t* bytes) {
  if constexpr (kernels::takes_quantized_activations(format)) {
    Block<format> block;
    std::memcpy(&block, bytes, sizeof block);
    kernels::Decoded<format> decoded;
    Codec<format>::decode(block, decoded);
    double sum = 0;
    for (std::size_t i = 0; i < std::size(decoded.codes); ++i) {
      const std::size_t part = i / Codec<format>::kPart;
      double value = double{decoded.d} * decoded.scales[part] * decoded.codes[i];
      if constexpr (Codec<format>::kHasMinimum) value += double{decoded.m} * decoded.minima[part];
      sum += value * value;
    }
    return sum;
  } else {
    return 0;
  }
}

constexpr double (*kSumOfSquares[])(const std::uint8_t*) = {
#define WEIGHT_FORMAT(Name, text, values, bytes, id) sum_of_squares<WeightFormat::k##Name>,
#include "kernels/quant/formats.def"
#undef WEIGHT_FORMAT
};

// The standard deviation of random weights with a scale of 1, from a fixed sample. At least 2^15
// values: a relative error of about 2^-8 for codes that are independent.
double unit_deviation(const Recipe& recipe) {
  constexpr std::uint64_t kSample = 1 << 15;
  const std::uint32_t per_block = kernels::traits(recipe.format).values_per_block;
  const std::uint16_t one = f16_of_f32(1);
  const std::uint16_t minimum = f16_of_f32(static_cast<float>(recipe.minimum_factor));
  Random random(0);
  std::uint8_t block[256];
  double sum = 0;
  for (std::uint64_t i = 0; i < kSample; i += per_block) {
    fill_block(recipe, random, one, minimum, block);
    sum += kSumOfSquares[static_cast<std::size_t>(recipe.format)](block);
  }
  return std::sqrt(sum / kSample);
}

std::uint16_t bf16_of_f32(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

template <typename Stored, typename Convert>
void fill_uniform(Random& random, double deviation, std::span<std::byte> values, Convert convert) {
  const double width = deviation * std::sqrt(12.0);  // of a uniform distribution
  for (std::size_t at = 0; at < values.size(); at += sizeof(Stored)) {
    const Stored value = convert(static_cast<float>(width * (random.uniform() - 0.5)));
    std::memcpy(values.data() + at, &value, sizeof value);
  }
}

double doubled_e2m1_deviation() {
  double squares = 0;
  for (const double value : kernels::kDoubledE2m1) squares += value * value;
  return std::sqrt(squares / std::size(kernels::kDoubledE2m1));
}

}  // namespace

RandomBlocks::RandomBlocks(WeightFormat format, double deviation)
    : format_(format), deviation_(deviation) {
  const Recipe* recipe = find_recipe(format);
  if (recipe == nullptr) return;
  const double scale = deviation / unit_deviation(*recipe);
  scale_ = f16_of_f32(static_cast<float>(scale));
  // From the rounded scale: an error of its own would be a mean.
  minimum_ =
      f16_of_f32(static_cast<float>(recipe->minimum_factor * double{kernels::f32_of_f16(scale_)}));
}

void RandomBlocks::fill(Random& random, std::span<std::byte> blocks) const {
  const Recipe* recipe = find_recipe(format_);
  if (format_ == WeightFormat::kMXFP4) return fill_mxfp4(random, blocks);
  if (format_ == WeightFormat::kNVFP4) return fill_nvfp4(random, blocks);
  if (recipe == nullptr) return fill_floats(random, blocks);
  const std::size_t step = kernels::traits(format_).bytes_per_block;
  CHECK_EQ(blocks.size() % step, 0u);
  std::uint8_t* const bytes = reinterpret_cast<std::uint8_t*>(blocks.data());
  for (std::size_t at = 0; at < blocks.size(); at += step)
    fill_block(*recipe, random, scale_, minimum_, bytes + at);
}

void RandomBlocks::fill_floats(Random& random, std::span<std::byte> values) const {
  switch (format_) {
    case WeightFormat::kF32:
      return fill_uniform<float>(random, deviation_, values, [](float x) { return x; });
    case WeightFormat::kF16:
      return fill_uniform<std::uint16_t>(random, deviation_, values, f16_of_f32);
    case WeightFormat::kBF16:
      return fill_uniform<std::uint16_t>(random, deviation_, values, bf16_of_f32);
    default:
      CHECK(!"a block format without a recipe");
  }
}

// Scales are powers of two: neighbouring ones are mixed so that the variance is right on average.
void RandomBlocks::fill_mxfp4(Random& random, std::span<std::byte> blocks) const {
  const double scale = deviation_ / doubled_e2m1_deviation();
  const int exponent = static_cast<int>(std::floor(std::log2(scale)));
  const double ratio = scale / std::exp2(exponent);  // in [1, 2)
  const double doubled = (ratio * ratio - 1) / 3;    // share of blocks with twice the scale
  constexpr std::size_t kStep = sizeof(Block<WeightFormat::kMXFP4>);
  CHECK_EQ(blocks.size() % kStep, 0u);
  std::uint8_t* const bytes = reinterpret_cast<std::uint8_t*>(blocks.data());
  for (std::size_t at = 0; at < blocks.size(); at += kStep) {
    fill_random(random, bytes + at, kStep);
    bytes[at] = static_cast<std::uint8_t>(exponent + 128 + (random.uniform() < doubled));
  }
}

// Scales have four bits: the two around the right one are mixed, likewise.
void RandomBlocks::fill_nvfp4(Random& random, std::span<std::byte> blocks) const {
  using C = Codec<WeightFormat::kNVFP4>;
  constexpr std::uint8_t kLargest = 0x7e;
  const double scale = deviation_ / doubled_e2m1_deviation() * 1024;  // in units of 2^-10
  CHECK_LE(scale, C::scale_of(kLargest));
  std::uint8_t below = 0;
  while (below + 1 < kLargest && C::scale_of(static_cast<std::uint8_t>(below + 1)) <= scale)
    ++below;
  const double low = C::scale_of(below), high = C::scale_of(static_cast<std::uint8_t>(below + 1));
  const double above = (scale * scale - low * low) / (high * high - low * low);
  CHECK_EQ(blocks.size() % sizeof(C::Block), 0u);
  std::uint8_t* const bytes = reinterpret_cast<std::uint8_t*>(blocks.data());
  for (std::size_t at = 0; at < blocks.size(); at += sizeof(C::Block)) {
    fill_random(random, bytes + at, sizeof(C::Block));
    for (std::size_t part = 0; part < 4; ++part)
      bytes[at + part] = static_cast<std::uint8_t>(below + (random.uniform() < above));
  }
}

}  // namespace hearth::tools
