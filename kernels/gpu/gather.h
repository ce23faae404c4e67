// Experts from RAM to their slots, read by the kernel itself over the link: no copy of the host's
// has to be enqueued for what only the device knows.
#pragma once

#include <cstdint>

#include "kernels/gpu/resolve.h"

namespace hearth::kernels {

// Each part of each expert to its offset in the slot, zeros up to the next multiple of 16 bytes.
// Parts may begin anywhere; of RAM the aligned 16 bytes around a part are read, too, so that it is
// memory that the device maps.
struct GatherTask {
  const ExpertFetch* fetches = nullptr;  // [most]
  const std::uint32_t* count = nullptr;  // of them, in device memory; at most `most`
  std::uint32_t most = 0;
  SlotLayout layout;
  // Of threads that wait for the link: as many as keep it busy, and no more, since others compute
  // meanwhile.
  std::uint32_t blocks = 32;
};

}  // namespace hearth::kernels
