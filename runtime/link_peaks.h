// What the links of this machine can carry, measured with the engine's own reader, memory and
// threads, so that a report can say how near to it a run came.
#pragma once

#include "runtime/engine.h"

namespace hearth::runtime {

struct LinkPeaks {
  double disk_bytes_per_second = 0;  // of experts fetched from random places; 0: not measured
  double ram_bytes_per_second = 0;   // all threads reading; 0: not measured
};

// Takes about half a second, less where the model is small. Leaves the expert memory empty. Memory
// is measured on the engine's largest arena, or, where that would fit the caches and no --ram
// forbids it, on a temporary one.
LinkPeaks measure_link_peaks(Engine& engine);

}  // namespace hearth::runtime
