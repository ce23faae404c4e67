// What was learned of a model's routing: how often each expert is chosen, how lately, how soon
// again, and with whom. A file per model (profiler/profile_toml.h).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "profiler/model_identity.h"
#include "profiler/routing.h"

namespace hearth::profiler {

// Of one layer: how many tokens lie between two uses of an expert. Bucket b counts the distances d
// with 2^b <= d < 2^(b+1); distance 1 is the next token. The last bucket has no upper bound.
inline constexpr std::size_t kReuseBuckets = 16;
using ReuseHistogram = std::array<std::uint64_t, kReuseBuckets>;

// The experts of the next layer with experts that are chosen most often together with this one for
// the same token: a summary of fixed size (Misra & Gries 1982), so counts are lower bounds.
inline constexpr std::size_t kPartners = 4;
struct Partner {
  std::uint16_t expert = 0;
  std::uint64_t count = 0;  // 0: no partner
  bool operator==(const Partner&) const = default;
};

struct ExpertHistory {
  std::uint64_t count = 0;  // tokens that chose it
  double recent = 0;        // likewise, each token worth half as much after kHalfLife further ones
  std::array<Partner, kPartners> partners;
};
inline constexpr double kHalfLife = 4096;  // tokens

struct LayerProfile {
  LayerIndex layer = 0;
  std::vector<ExpertHistory> experts;
  ReuseHistogram reuse{};
};

struct Workload {
  std::string label;
  std::uint64_t tokens = 0;
  bool operator==(const Workload&) const = default;
};

// What a replay of the recorded routing gave: hit rate in decoding at a share of all experts held.
struct HitPoint {
  double share = 0;  // slots / experts, (0, 1)
  double hit_rate = 0;
};
struct PolicyCurve {
  std::string policy;            // a cache policy, "belady", or "static": the hottest set, pinned
  std::vector<HitPoint> points;  // by ascending share
};

struct ExpertProfile {
  ModelIdentity model;
  std::vector<Workload> workloads;    // one label each, in order of first appearance
  std::vector<LayerProfile> layers;   // those with experts, ascending
  std::vector<PolicyCurve> curves;    // empty: never replayed
  std::uint64_t replayed_tokens = 0;  // that the curves come from

  std::uint64_t tokens() const;  // of all workloads
  // Expected uses per token of every expert, [space.size()]: recent over its decayed total, blended
  // with nothing; layers without experts are zero.
  std::vector<float> popularity() const;
};

// Follows decisions and counts them. All memory is taken in the constructor, observe() allocates
// nothing; the cost of a decoded token is some tens of microseconds.
class ProfileRecorder {
 public:
  // Continues `profile` (counts so far, or an empty one with its layers and their experts laid
  // out).
  ProfileRecorder(ExpertProfile profile, const std::string& workload);

  void observe(const Routing& routing);  // every decision, layers ascending within a step
  const ExpertProfile& profile() const { return profile_; }

 private:
  struct Layer;
  ExpertProfile profile_;
  std::size_t workload_ = 0;
  std::vector<Layer> layers_;
};

// An empty profile of this shape: experts[layer] per block, 0 where it has none.
ExpertProfile empty_profile(const ModelIdentity& model,
                            const std::vector<std::uint32_t>& experts_of_layer);

}  // namespace hearth::profiler
