#include "kernels/kv/rotation.h"

#include <algorithm>
#include <array>

#include "base/random.h"

namespace hearth::kernels {
namespace {

constexpr std::uint64_t kSeed = 42;

struct Signs {
  std::array<float, kKvSlice> before, after;  // D1, D2
};

Signs make_signs() {
  const KvSigns bits = kv_signs();
  const auto sign = [](const std::uint64_t(&words)[kKvSlice / 64], std::uint32_t i) {
    return (words[i / 64] >> i % 64 & 1) != 0 ? -1.0f : 1.0f;
  };
  Signs signs;
  for (std::uint32_t i = 0; i < kKvSlice; ++i) {
    signs.before[i] = sign(bits.before, i);
    signs.after[i] = sign(bits.after, i);
  }
  return signs;
}
const Signs kSigns = make_signs();

void multiply(const std::array<float, kKvSlice>& signs, std::uint32_t size, std::uint32_t n,
              float* x) {
  for (std::uint32_t begin = 0; begin < n; begin += size)
    for (std::uint32_t i = 0; i < size; ++i) x[begin + i] *= signs[i];
}

void rotate(const CpuKernels& kernels, const KvRotation& rotation, std::uint32_t n, float* x,
            const std::array<float, kKvSlice>& before, const std::array<float, kKvSlice>& after) {
  if (rotation.size == 1) return;
  if (rotation.signs) multiply(before, rotation.size, n, x);
  kernels.rotate(x, n, rotation.size);
  if (rotation.signs) multiply(after, rotation.size, n, x);
}

}  // namespace

KvSigns kv_signs() {
  Random random(kSeed);
  KvSigns signs;
  for (std::uint64_t& word : signs.before) word = random.next();
  for (std::uint64_t& word : signs.after) word = random.next();
  return signs;
}

KvRotation kv_rotation(KvFormat format, KvPart part, std::uint32_t dim) {
  const std::uint32_t largest = dim & (~dim + 1);
  switch (traits(format).family) {
    case KvFamily::kFloat:
      return {};
    case KvFamily::kTurbo:
    case KvFamily::kKvarn:
      return {.size = traits(format).slice(dim),
              .signs = traits(format).family == KvFamily::kTurbo};
    default:
      return {.size = part == KvPart::kKeys ? largest : std::min(largest, 64u)};
  }
}

void rotate(const CpuKernels& kernels, const KvRotation& rotation, std::uint32_t n, float* x) {
  rotate(kernels, rotation, n, x, kSigns.before, kSigns.after);
}
void rotate_back(const CpuKernels& kernels, const KvRotation& rotation, std::uint32_t n, float* x) {
  rotate(kernels, rotation, n, x, kSigns.after, kSigns.before);
}

}  // namespace hearth::kernels
