// The kernels of every instruction set this machine runs, and inputs for them.
#pragma once

#include <bit>
#include <vector>

#include "base/random.h"
#include "kernels/cpu_kernels.h"

namespace hearth::kernels {

inline const CpuKernels& scalar_table() { return cpu_kernels(InstructionSet::kScalar); }

// The supported sets above scalar; empty where there is none.
inline std::vector<CpuKernels> tuned_tables() {
  std::vector<CpuKernels> tables;
  for (const InstructionSet set : {InstructionSet::kAvx2, InstructionSet::kAvx512})
    if (supported(set)) tables.push_back(cpu_kernels(set));
  return tables;
}

inline std::vector<CpuKernels> all_tables() {
  std::vector<CpuKernels> tables = tuned_tables();
  tables.push_back(scalar_table());
  return tables;
}

inline std::vector<float> normal_floats(Random& random, std::size_t n, double deviation = 1) {
  std::vector<float> values(n);
  for (float& value : values) value = static_cast<float>(random.normal() * deviation);
  return values;
}

// For comparison of bits; every NaN counts as the same one.
inline std::vector<std::uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits;
  bits.reserve(values.size());
  for (const float value : values)
    bits.push_back(value != value ? 0x7fc00000 : std::bit_cast<std::uint32_t>(value));
  return bits;
}

}  // namespace hearth::kernels
