// Which NVIDIA devices run what a program was compiled for.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <iterator>

namespace hearth::kernels {

// Compute capabilities are numbers as compilers name them: 86 is 8.6.

constexpr bool is_tegra(unsigned capability) {
  constexpr unsigned kTegra[] = {53, 62, 72, 87, 101};
  return std::ranges::find(kTegra, capability) != std::end(kTegra);
}

// Device code runs where the major number is its own and the minor one is no smaller, PTX wherever
// neither is older. Tegra runs no device code but its own, and no other runs Tegra's (CUDA C++
// Programming Guide, "Binary Compatibility").
constexpr bool runs_on(unsigned capability, std::initializer_list<unsigned> code,
                       std::initializer_list<unsigned> ptx) {
  const auto is_code_for = [&](unsigned one) {
    if (is_tegra(one) || is_tegra(capability)) return one == capability;
    return one / 10 == capability / 10 && one <= capability;
  };
  const auto is_ptx_for = [&](unsigned one) { return one <= capability; };
  return std::ranges::any_of(code, is_code_for) || std::ranges::any_of(ptx, is_ptx_for);
}

// Whether kernels that run there were compiled to wait for the one before them (port/cuda.h), which
// those for 9.0 and up are. What was compiled for older devices runs on newer ones as well.
constexpr bool waits_on(unsigned capability, std::initializer_list<unsigned> code,
                        std::initializer_list<unsigned> ptx) {
  constexpr unsigned kFirst = 90;
  const auto code_waits = [&](unsigned one) {
    return one >= kFirst && runs_on(capability, {one}, {});
  };
  const auto ptx_waits = [&](unsigned one) {
    return one >= kFirst && runs_on(capability, {}, {one});
  };
  return std::ranges::any_of(code, code_waits) || std::ranges::any_of(ptx, ptx_waits);
}

}  // namespace hearth::kernels
