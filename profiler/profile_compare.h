// How differently two profiles of one model use its experts: is one placement right for both?
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "profiler/expert_profile.h"

namespace hearth::profiler {

// The hottest tenth, quarter and half of a layer's experts.
inline constexpr std::array<double, 3> kHotShares = {0.10, 0.25, 0.50};

struct LayerDifference {
  LayerIndex layer = 0;
  // Jensen-Shannon divergence of the choices, in bits: 0 for equal shares, 1 where no expert is
  // used in both (Lin 1991).
  double divergence = 0;
  // What two samples of these sizes from the same shares would show, were choices independent:
  // (experts - 1) / 8 * (1 / uses + 1 / uses) nats. Neighbouring tokens choose alike, so the true
  // noise is larger.
  double noise = 0;
  // Per kHotShares: the part of the hottest experts of one that are among the hottest of the other.
  std::array<double, 3> hot_overlap{};
  // In the hottest quarter of one, and in the colder half of the other; hottest first.
  std::vector<std::uint16_t> hot_only_in_first;
  std::vector<std::uint16_t> hot_only_in_second;
};

struct ProfileDifference {
  std::vector<LayerDifference> layers;  // those that both have used
  std::vector<LayerIndex> unused;       // by one of the profiles or both: not compared
  // Means over the layers.
  double divergence = 0;
  double noise = 0;
  std::array<double, 3> hot_overlap{};
  std::uint64_t hot_only_in_first = 0;  // sums
  std::uint64_t hot_only_in_second = 0;
};

// Of the counts. Throws Error(kBadInput) where the models differ, quantisation aside.
ProfileDifference compare_profiles(const ExpertProfile& first, const ExpertProfile& second);

// In bits, of two lists of counts of one length, neither all zero.
double jensen_shannon(std::span<const std::uint64_t> first, std::span<const std::uint64_t> second);

}  // namespace hearth::profiler
