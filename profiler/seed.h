// What to load before the first token.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"

namespace hearth::profiler {

struct SeedInput {
  ExpertSpace space;
  std::span<const float> popularity;              // [space.size()], as PolicyInput
  std::span<const std::uint8_t> size_class_of;    // [space.size()], as Residency::Config
  std::span<const std::uint32_t> slots_of_class;  // per size class
};

// The most popular experts of each size class, at most as many as it has slots, the most popular of
// all first; of equals the lower number. What was never used is not worth a read.
std::vector<ExpertId> choose_seed(const SeedInput& input);

}  // namespace hearth::profiler
