// Instructions that do the same in each lane, written as a function of one lane's values.
#pragma once

#include <tuple>
#include <utility>

#include "tests/ptx/operations.h"
#include "tests/ptx/warp.h"

namespace hearth::ptx {

template <typename T>
constexpr std::uint8_t kWidth = sizeof(T);
template <>
inline constexpr std::uint8_t kWidth<Flag> = 0;

inline Flag flag(bool x) { return static_cast<Flag>(0 - std::uint32_t{x}); }
inline bool is_true(Flag x) { return x == Flag::kTrue; }

// Inactive lanes are computed as well, from whatever they hold, and not stored.
template <typename F, typename To, typename... From>
void in_each_lane(Warp& warp, const Instruction& instruction) {
  [&]<std::size_t... i>(std::index_sequence<i...>) {
    const std::tuple rows{warp.row<From>(instruction.operands[1 + i])...};
    To results[kLanes];
    for (unsigned lane = 0; lane < kLanes; ++lane) results[lane] = F{}(std::get<i>(rows)[lane]...);
    warp.store(instruction.operands[0], results);
  }(std::index_sequence_for<From...>{});
}

template <typename F, typename To, typename... From>
Form form_of(To (*)(From...)) {
  return {&in_each_lane<F, To, From...>, 1, {kWidth<To>, kWidth<From>...}};
}

template <typename F>
void add(Forms& forms, const std::string& opcode, F f) {
  forms.emplace(opcode, form_of<F>(+f));
}

}  // namespace hearth::ptx
