// The rotation of kernels/kv/rotation.h by the threads of a block, in shared memory.
#pragma once

#include "kernels/gpu/port.h"
#include "kernels/kv/kv_layout.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

HEARTH_DEVICE float signed_by(const std::uint32_t (&signs)[kKvSlice / 32], std::uint32_t channel,
                              float x) {
  return (signs[channel / 32] >> channel % 32 & 1) != 0 ? -x : x;
}

// Each `size` of n values; a collective of the block, which ends with a barrier.
HEARTH_DEVICE void rotate_block(const RotationLayout& rotation, std::uint32_t n, float* x) {
  sync_threads();
  if (rotation.size == 1) return;
  const float factor = divide(1.0f, square_root(static_cast<float>(rotation.size)));
  if (rotation.signs)
    for (std::uint32_t i = thread_index(); i < n; i += block_threads())
      x[i] = signed_by(rotation.before, i % rotation.size, x[i]);
  for (std::uint32_t half = 1; half < rotation.size; half *= 2) {
    sync_threads();
    for (std::uint32_t pair = thread_index(); pair < n / 2; pair += block_threads()) {
      const std::uint32_t i = pair / half * 2 * half + pair % half;
      const float a = x[i], b = x[i + half];
      x[i] = a + b;
      x[i + half] = a - b;
    }
  }
  sync_threads();
  for (std::uint32_t i = thread_index(); i < n; i += block_threads()) {
    const float scaled = x[i] * factor;
    x[i] = rotation.signs ? signed_by(rotation.after, i % rotation.size, scaled) : scaled;
  }
  sync_threads();
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
