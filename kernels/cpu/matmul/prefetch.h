// Weights asked for before they are wanted: hints, of which some lie past the end of a matrix.
#pragma once

#include "kernels/cpu/matmul/tile.h"

namespace hearth::kernels {

// Rows that are read side by side ask, before some bytes of each, for as many bytes that lie so far
// behind all of these rows. Memory is asked for in its order, not in that of the tiles: with two
// threads of a Zen 5 Q6_K went from 77 to 94 % of the bandwidth and Q4_K from 85 to 96, against the
// same tile of later rows. The distance is for narrow rows: 8 KiB instead of 4 gave 5 % more with
// one thread, and with two no less.
inline constexpr std::size_t kBytesAhead = 8 << 10;

namespace {

template <std::size_t kBytes>
HEARTH_INLINE void prefetch(std::uintptr_t at) {
  for (std::size_t i = 0; i < kBytes; i += 64)
    _mm_prefetch(reinterpret_cast<const char*>(at + i), _MM_HINT_T0);
}

}  // namespace
}  // namespace hearth::kernels
