#include "profiler/seed.h"

#include <algorithm>

#include "base/check.h"
#include "profiler/residency.h"

namespace hearth::profiler {

std::vector<ExpertId> choose_seed(const SeedInput& input) {
  const std::span<const float> popularity = input.popularity;
  CHECK_EQ(popularity.size(), std::size_t{input.space.size()});
  CHECK_EQ(input.size_class_of.size(), popularity.size());
  std::vector<std::uint32_t> used;
  for (std::uint32_t expert = 0; expert < popularity.size(); ++expert)
    if (popularity[expert] > 0 && input.size_class_of[expert] != Residency::kNoClass)
      used.push_back(expert);
  std::stable_sort(used.begin(), used.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return popularity[a] > popularity[b]; });
  std::vector<std::uint32_t> free(input.slots_of_class.begin(), input.slots_of_class.end());
  std::vector<ExpertId> seed;
  for (const std::uint32_t expert : used) {
    CHECK_LT(input.size_class_of[expert], free.size());
    std::uint32_t& slots = free[input.size_class_of[expert]];
    if (slots == 0) continue;
    --slots;
    seed.push_back(input.space.id(expert));
  }
  return seed;
}

}  // namespace hearth::profiler
