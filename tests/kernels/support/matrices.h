// Matrices, activations and kernel tables for the tests of the products.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/random.h"
#include "kernels/activations.h"
#include "kernels/cpu_kernels.h"

namespace hearth::kernels {

// The tables of the instruction sets that this CPU runs, scalar first. Only the entries of
// fill_matmul_* are set.
const std::vector<CpuKernels>& matmul_tables();

enum class Blocks {
  kRandom,   // random codes and integer scales, float scales of ordinary size
  kExtreme,  // all bits set or none, float scales zero, denormal, huge and negative
  kSpecial,  // as kRandom, and now and then a float scale that is infinite or NaN
};

// A matrix whose last byte is the last byte of a page; the page after it cannot be read. The size
// alone decides the alignment, which is odd for most formats.
class GuardedMatrix {
 public:
  GuardedMatrix(WeightFormat format, std::uint32_t rows, std::uint32_t columns, Blocks blocks,
                Random& random);
  ~GuardedMatrix();
  GuardedMatrix(const GuardedMatrix&) = delete;
  GuardedMatrix& operator=(const GuardedMatrix&) = delete;

  const WeightMatrix& view() const { return matrix_; }

 private:
  std::byte* mapping_ = nullptr;
  std::size_t mapped_ = 0;
  WeightMatrix matrix_;
};

// Normally distributed activations and their quantized form, with one outlier per 64 values.
class TestActivations {
 public:
  TestActivations(std::uint32_t rows, std::uint32_t columns, Random& random);
  Activations view() const { return buffer_.view(); }

 private:
  std::vector<std::byte> memory_;
  ActivationBuffer buffer_;
};

}  // namespace hearth::kernels
