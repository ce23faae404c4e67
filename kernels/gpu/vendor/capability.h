// Which NVIDIA devices run what a program was compiled for.
#pragma once

#include <algorithm>
#include <initializer_list>

namespace hearth::kernels {

// Compute capabilities as compilers name them: 86 is 8.6. Device code runs where the major number
// is its own and the minor one is no smaller, PTX wherever neither is older (CUDA C++ Programming
// Guide, "Compute capability").
constexpr bool runs_on(unsigned capability, std::initializer_list<unsigned> code,
                       std::initializer_list<unsigned> ptx) {
  const auto is_code_for = [&](unsigned one) {
    return one / 10 == capability / 10 && one <= capability;
  };
  const auto is_ptx_for = [&](unsigned one) { return one <= capability; };
  return std::ranges::any_of(code, is_code_for) || std::ranges::any_of(ptx, is_ptx_for);
}

}  // namespace hearth::kernels
