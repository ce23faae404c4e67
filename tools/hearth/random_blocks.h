// Random weights, made directly in the bytes of a weight format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/random.h"
#include "kernels/weight_format.h"

namespace hearth::tools {

// Fills `blocks`, whole blocks of one format, with weights of mean 0 and the given standard
// deviation: uniformly random codes under scales chosen to fit. Several GB/s for block formats.
class RandomBlocks {
 public:
  RandomBlocks(kernels::WeightFormat format, double deviation);

  void fill(Random& random, std::span<std::byte> blocks) const;

 private:
  void fill_floats(Random& random, std::span<std::byte> values) const;
  void fill_mxfp4(Random& random, std::span<std::byte> blocks) const;
  void fill_nvfp4(Random& random, std::span<std::byte> blocks) const;

  kernels::WeightFormat format_;
  double deviation_;
  std::uint16_t scale_ = 0, minimum_ = 0;  // f16 bits
};

}  // namespace hearth::tools
