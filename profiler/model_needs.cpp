#include "profiler/model_needs.h"

#include "base/check.h"

namespace hearth::profiler {

std::uint32_t ModelNeeds::experts() const {
  std::uint32_t total = 0;
  for (const ExpertClass& one : classes) total += one.experts;
  return total;
}

Bytes ModelNeeds::expert_bytes() const {
  Bytes total;
  for (const ExpertClass& one : classes) total += one.expert * one.experts;
  return total;
}

std::vector<std::uint8_t> ModelNeeds::size_class_of() const {
  CHECK_EQ(class_of_layer.size(), experts_of_layer.size());
  std::vector<std::uint8_t> result(space().size(), Residency::kNoClass);
  for (std::uint32_t l = 0; l < class_of_layer.size(); ++l)
    for (std::uint32_t e = 0; e < experts_of_layer[l]; ++e)
      result[l * space().experts_per_layer + e] = class_of_layer[l];
  return result;
}

}  // namespace hearth::profiler
