// The vector operations of every set this machine runs, and inputs for them.
#pragma once

#include <bit>
#include <vector>

#include "base/random.h"
#include "kernels/cpu/fill.h"
#include "kernels/cpu_kernels.h"

namespace hearth::kernels {

inline CpuKernels scalar_vector_table() {
  CpuKernels table{};
  table.name = "scalar";
  fill_vector_scalar(table);
  return table;
}

// The supported sets above scalar; empty where there is none.
inline std::vector<CpuKernels> tuned_vector_tables() {
  std::vector<CpuKernels> tables;
#ifndef HEARTH_SCALAR_ONLY
  if (supported(InstructionSet::kAvx2)) {
    fill_vector_avx2(tables.emplace_back());
    tables.back().name = "avx2";
  }
  if (supported(InstructionSet::kAvx512)) {
    fill_vector_avx512(tables.emplace_back());
    tables.back().name = "avx512";
  }
#endif
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
