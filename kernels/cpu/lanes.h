// What the 16-lane vectors of all instruction sets have in common.
//
// An operation is written once, as a template over a vector type of 16 f32 lanes where lane i takes
// the elements i mod 16; each set supplies that type, and every one of its operations is exact,
// correctly rounded, or a stated order of such. So the sets agree bit for bit by construction. (A
// NaN stays a NaN, but which one is not specified.) kernels/cpu/scalar/lanes.h is the list of
// operations with their meaning.
//
// Files of the sets above scalar are compiled with flags of their own. An inline function or
// template that two such files share would be kept once by the linker, perhaps with instructions
// the processor lacks. Their vector types therefore live in unnamed namespaces: whatever is
// instantiated over them stays inside its file. For the same reason they call nothing of std.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hearth::kernels {

inline constexpr std::uint32_t kLanes = 16;

// How much of a vector lies in memory: all 16 elements, or the first 1 to 15 of them.
struct Whole {};
struct Part {
  std::uint32_t count;
};

// body(i, Whole{}) for i = 0, 16, 32, ... and at last body(i, Part{...}) where n leaves a rest.
template <typename Body>
[[gnu::always_inline]] inline void for_lanes(std::uint32_t n, Body body) {
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, Whole{});
  if (i < n) body(i, Part{static_cast<std::uint32_t>(n - i)});
}

}  // namespace hearth::kernels
