#include "profiler/hit_estimate.h"

#include <algorithm>

#include "base/check.h"
#include "base/error.h"
#include "profiler/policy_choice.h"

namespace hearth::profiler {
namespace {

// Published hit rates in decoding of models with 128 to 512 experts a layer, top 8 or 10, under
// LRU, by the share of all experts that are held.
const PolicyCurve kPublished = {
    "lru",
    {
        {0.0625, 0.366},  // Qwen3-30B-A3B; kekzl/imp issue 1374
        {0.125, 0.67},    // Qwen3.8-Flash-Next; llama.cpp pull request 27861
        {0.19, 0.741},    // Qwen3-30B-A3B; kekzl/imp issue 1374
        {0.25, 0.815},    // Qwen3.6-35B-A3B, Qwen3.8-Flash-Next; paddock, llama.cpp
        {0.38, 0.894},    // Qwen3-30B-A3B; kekzl/imp issue 1374
        {0.50, 0.94},     // Qwen3.6-35B-A3B; truespar/paddock
        {0.635, 0.962},   // Qwen3-30B-A3B; kekzl/imp issue 1374
    }};
// Two systems' LRU rates for one model at one share, 74.1 and 79 %, differ by a quarter of the
// misses; so may the text that a profile was recorded from and the text to come.
constexpr double kMissesOfOtherText = 1.25;
// Models differ more: at 40 % of the experts 90 to 95 % were published, and in less skewed ones the
// misses are twice what the points above say.
constexpr double kMissesOfOtherModels = 2.0;

const PolicyCurve* curve_of(const ExpertProfile* profile, const std::string& policy) {
  if (profile == nullptr) return nullptr;
  const auto found = std::ranges::find(profile->curves, policy, &PolicyCurve::policy);
  return found == profile->curves.end() || found->points.empty() ? nullptr : &*found;
}

// The classes by the bytes that a token uses of each: as many layers, with experts of this size.
double expected_hits(const ModelNeeds& needs, std::span<const std::uint32_t> slots_of_class,
                     const PolicyCurve& curve) {
  double hits = 0, all = 0;
  for (std::size_t c = 0; c < needs.classes.size(); ++c) {
    const ExpertClass& one = needs.classes[c];
    const double weight = static_cast<double>(one.expert.count) * one.experts;
    all += weight;
    hits += weight * hit_rate_at(curve, static_cast<double>(slots_of_class[c]) / one.experts);
  }
  return all > 0 ? hits / all : 1;
}

}  // namespace

HitEstimate estimate_hits(const ModelNeeds& needs, std::span<const std::uint32_t> slots_of_class,
                          const std::string& policy, const ExpertProfile* profile) {
  CHECK_EQ(slots_of_class.size(), needs.classes.size());
  const PolicyCurve* curve = curve_of(profile, policy);
  HitEstimate estimate;
  double spread = kMissesOfOtherText;
  if (curve != nullptr) {
    estimate.expected = expected_hits(needs, slots_of_class, *curve);
    estimate.source = fmt::format("from a replay of {} recorded tokens", profile->replayed_tokens);
  } else {
    estimate.expected = expected_hits(needs, slots_of_class, kPublished);
    estimate.source = profile == nullptr ? "no profile: assumed from other models"
                                         : "never replayed: assumed from other models";
    spread = kMissesOfOtherModels;
  }
  const double misses = 1 - estimate.expected;
  estimate.low = std::max(0.0, 1 - misses * spread);
  estimate.high = 1 - misses / spread;
  if (misses == 0) estimate.source = "everything fits";
  return estimate;
}

}  // namespace hearth::profiler
