#include "profiler/hit_estimate.h"

#include <algorithm>
#include <functional>
#include <numeric>

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

// Of each class: the parts of its uses that the first so many of its experts have, the most used
// first.
std::vector<std::vector<double>> uses_of_most_wanted(const ModelNeeds& needs,
                                                     const ExpertProfile& profile) {
  const std::vector<float> popularity = profile.popularity();
  const std::vector<std::uint8_t> size_class_of = needs.size_class_of();
  std::vector<std::vector<double>> uses(needs.classes.size());
  for (std::size_t i = 0; i < popularity.size(); ++i)
    if (size_class_of[i] != Residency::kNoClass) uses[size_class_of[i]].push_back(popularity[i]);
  for (std::vector<double>& one : uses) {
    std::ranges::sort(one, std::greater());
    one.insert(one.begin(), 0.0);
    std::partial_sum(one.begin(), one.end(), one.begin());
    const double all = one.back();
    for (double& part : one) part = all > 0 ? part / all : 0;
  }
  return uses;
}

}  // namespace

HitModel::HitModel(const ModelNeeds& needs, const std::string& policy, const ExpertProfile* profile)
    : needs_(needs), curve_(kPublished), spread_(kMissesOfOtherModels) {
  source_ = profile == nullptr ? "no profile: assumed from other models"
                               : "never replayed: assumed from other models";
  if (profile != nullptr) uses_ = uses_of_most_wanted(needs, *profile);
  if (const PolicyCurve* const held = curve_of(profile, "static")) held_curve_ = *held;
  const PolicyCurve* const curve = curve_of(profile, policy);
  if (curve == nullptr) return;
  curve_ = *curve;
  source_ = fmt::format("from a replay of {} recorded tokens", profile->replayed_tokens);
  spread_ = kMissesOfOtherText;
}

HitModel HitModel::of_gpu(const ModelNeeds& needs, const ExpertProfile* profile) {
  return HitModel(needs, kPublished.policy, profile);
}

double HitModel::held_uses(std::size_t size_class, std::uint32_t held) const {
  if (held == 0) return 0;
  const double share = static_cast<double>(held) / needs_.classes[size_class].experts;
  if (held_curve_) return hit_rate_at(*held_curve_, share);
  return uses_.empty() ? share : uses_[size_class][held];
}

// The classes by the bytes that a token uses of each: as many layers, with experts of this size.
double HitModel::expected(std::span<const std::uint32_t> slots_of_class,
                          std::span<const std::uint32_t> held_of_class) const {
  CHECK_EQ(slots_of_class.size(), needs_.classes.size());
  double hits = 0, all = 0;
  for (std::size_t c = 0; c < needs_.classes.size(); ++c) {
    const ExpertClass& one = needs_.classes[c];
    const std::uint32_t held = held_of_class.empty() ? 0 : held_of_class[c];
    const double weight = static_cast<double>(one.expert.count) * one.experts;
    const double following = static_cast<double>(slots_of_class[c] - held),
                 others = static_cast<double>(one.experts - held);
    const double known = held_uses(c, held);
    all += weight;
    hits +=
        weight * (others > 0 ? known + (1 - known) * hit_rate_at(curve_, following / others) : 1);
  }
  return all > 0 ? hits / all : 1;
}

HitEstimate HitModel::estimate(std::span<const std::uint32_t> slots_of_class,
                               std::span<const std::uint32_t> held_of_class) const {
  HitEstimate estimate{.expected = expected(slots_of_class, held_of_class), .source = source_};
  const double misses = 1 - estimate.expected;
  estimate.low = std::max(0.0, 1 - misses * spread_);
  estimate.high = 1 - misses / spread_;
  if (misses == 0) estimate.source = "everything fits";
  return estimate;
}

}  // namespace hearth::profiler
