// What every policy knows of the experts: their dense numbers and their size classes.
#pragma once

#include <cstdint>
#include <vector>

#include "base/check.h"
#include "profiler/cache_policy.h"

namespace hearth::profiler {

class ExpertTable {
 public:
  explicit ExpertTable(const PolicyInput& input)
      : space_(input.space),
        size_class_of_(input.size_class_of.begin(), input.size_class_of.end()),
        slots_of_class_(input.slots_of_class.begin(), input.slots_of_class.end()) {
    CHECK_EQ(size_class_of_.size(), space_.size());
    CHECK(input.popularity.empty() || input.popularity.size() == space_.size());
    for (const float uses : input.popularity) CHECK(uses >= 0);
  }

  std::uint32_t size() const { return space_.size(); }
  std::uint32_t layers() const { return space_.layers; }
  std::uint32_t experts_per_layer() const { return space_.experts_per_layer; }
  std::uint8_t size_classes() const { return static_cast<std::uint8_t>(slots_of_class_.size()); }
  std::uint32_t slots(std::uint8_t size_class) const { return slots_of_class_[size_class]; }
  void set_slots(std::uint8_t size_class, std::uint32_t slots) {
    CHECK_LT(size_class, size_classes());
    slots_of_class_[size_class] = slots;
  }

  std::uint32_t flat(ExpertId id) const {
    CHECK(space_.contains(id));
    return space_.flat(id);
  }
  ExpertId id(std::uint32_t expert) const { return space_.id(expert); }

  // Of an expert that exists.
  std::uint8_t size_class(std::uint32_t expert) const {
    CHECK_LT(size_class_of_[expert], size_classes());
    return size_class_of_[expert];
  }
  bool exists(std::uint32_t expert) const { return size_class_of_[expert] < size_classes(); }

 private:
  ExpertSpace space_;
  std::vector<std::uint8_t> size_class_of_;
  std::vector<std::uint32_t> slots_of_class_;
};

}  // namespace hearth::profiler
