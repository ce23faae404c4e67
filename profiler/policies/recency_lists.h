// Doubly linked lists over dense expert numbers, oldest first. An expert is in one list at most;
// every operation is O(1) and nothing allocates after construction.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "base/check.h"

namespace hearth::profiler {

class RecencyLists {
 public:
  RecencyLists(std::uint32_t experts, std::uint32_t lists)
      : experts_(experts), links_(std::size_t{experts} + lists) {
    for (std::uint32_t list = 0; list < lists; ++list) links_[end(list)] = {end(list), end(list)};
  }

  bool contains(std::uint32_t expert) const { return links_[expert].newer != kUnlinked; }

  // Iteration from old to new: for (e = oldest(list); e != end(list); e = newer(e)).
  std::uint32_t oldest(std::uint32_t list) const { return links_[end(list)].newer; }
  std::uint32_t newer(std::uint32_t expert) const { return links_[expert].newer; }
  std::uint32_t end(std::uint32_t list) const { return experts_ + list; }

  void push_newest(std::uint32_t list, std::uint32_t expert) {
    CHECK(!contains(expert));
    const std::uint32_t before = links_[end(list)].older;
    links_[expert] = {before, end(list)};
    links_[before].newer = expert;
    links_[end(list)].older = expert;
  }

  void remove(std::uint32_t expert) {
    CHECK(contains(expert));
    const Link link = links_[expert];
    links_[link.older].newer = link.newer;
    links_[link.newer].older = link.older;
    links_[expert] = {};
  }

 private:
  static constexpr std::uint32_t kUnlinked = std::numeric_limits<std::uint32_t>::max();
  struct Link {
    std::uint32_t older = kUnlinked;
    std::uint32_t newer = kUnlinked;
  };

  std::uint32_t experts_;
  std::vector<Link> links_;  // experts, then one ring anchor for each list
};

}  // namespace hearth::profiler
