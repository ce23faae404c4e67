// How many of the routed experts a memory of so many slots will hold: from the recorded routing of
// a profile, else from what was published of other models.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "profiler/expert_profile.h"
#include "profiler/model_needs.h"

namespace hearth::profiler {

// Shares of the expert bytes of a token.
struct HitEstimate {
  double expected = 1;
  double low = 1;
  double high = 1;
  std::string source;  // "the profile's replay of 12,000 tokens", "assumed: no profile"
};

// Of one policy, for any number of slots.
class HitModel {
 public:
  // `profile` may be null. The needs outlive it.
  HitModel(const ModelNeeds& needs, const std::string& policy, const ExpertProfile* profile);

  // Of a GPU, whose kernels give away the slot that was unused for longest.
  static HitModel of_gpu(const ModelNeeds& needs, const ExpertProfile* profile);

  // So many slots of each class, of which the first `held_of_class` (empty: none) have the experts
  // that are wanted most, for good; the others follow what is used of the rest.
  HitEstimate estimate(std::span<const std::uint32_t> slots_of_class,
                       std::span<const std::uint32_t> held_of_class = {}) const;
  double expected(std::span<const std::uint32_t> slots_of_class,
                  std::span<const std::uint32_t> held_of_class = {}) const;

 private:
  double held_uses(std::size_t size_class, std::uint32_t held) const;

  const ModelNeeds& needs_;
  PolicyCurve curve_;
  std::string source_;
  double spread_;
  // What a set that stays is hit, as it was replayed; else of each class the share of its uses that
  // its most wanted have, [experts + 1]; where both are empty nothing is known.
  std::optional<PolicyCurve> held_curve_;
  std::vector<std::vector<double>> uses_;
};

}  // namespace hearth::profiler
