// What was learned of a model's routing: how often each expert is chosen, how lately, how soon
// again, and with whom. A file per model (profiler/profile_toml.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
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
// the same token, by descending count. Lower bounds: whenever a profile is saved and continued, or
// merged, what was not among the first kPartners is forgotten.
inline constexpr std::size_t kPartners = 4;
struct Partner {
  std::uint16_t expert = 0;
  std::uint64_t count = 0;  // 0: no partner
  bool operator==(const Partner&) const = default;
};

struct ExpertHistory {
  std::uint64_t count = 0;  // tokens that chose it
  double recent = 0;        // likewise, but decaying: see kHalfLife
  std::array<Partner, kPartners> partners;
  bool operator==(const ExpertHistory&) const = default;
};
// In `recent` a token is worth half as much after kHalfLife further ones. The tokens of a prompt
// are worth and age only kPromptWeight of a generated one: what stays resident matters in decoding,
// while a prompt streams most experts through in any case. How much less is a choice: a prompt of
// 4096 tokens has the say of 256 generated ones. A profile of prompts alone loses nothing by this,
// since only the shares of `recent` within a layer are used.
inline constexpr double kHalfLife = 4096;  // generated tokens
inline constexpr double kPromptWeight = 1.0 / 16;
// To the nearest 1/10000, which a file keeps exactly in few digits.
double rounded_recent(double recent);

struct LayerProfile {
  LayerIndex layer = 0;
  std::vector<ExpertHistory> experts;
  ReuseHistogram reuse{};
  bool operator==(const LayerProfile&) const = default;

  std::uint64_t uses() const;  // the counts of all experts
};

// So that no sum of counts overflows, with up to 2^16 experts per layer. At a thousand tokens per
// second that is 35 years.
inline constexpr std::uint64_t kMostTokens = std::uint64_t{1} << 40;

struct Workload {
  std::string label;
  std::uint64_t tokens = 0;     // of all workloads together at most kMostTokens
  std::uint64_t generated = 0;  // of them, one at a time; the rest came as prompts
  bool operator==(const Workload&) const = default;
};

// What a replay of the recorded routing gave: hit rate in decoding at a share of all experts held.
struct HitPoint {
  double share = 0;  // slots / experts, (0, 1)
  double hit_rate = 0;
  bool operator==(const HitPoint&) const = default;
};
struct PolicyCurve {
  std::string policy;            // a cache policy, "belady", or "static": the hottest set, pinned
  std::vector<HitPoint> points;  // by ascending share
  bool operator==(const PolicyCurve&) const = default;
};

struct ExpertProfile {
  ModelIdentity model;
  std::vector<Workload> workloads;    // one label each, in order of first appearance
  std::vector<LayerProfile> layers;   // those with experts, ascending
  std::vector<PolicyCurve> curves;    // empty: never replayed
  std::uint64_t replayed_tokens = 0;  // that the curves come from

  bool operator==(const ExpertProfile&) const = default;

  std::uint64_t tokens() const;                       // of all workloads
  const LayerProfile* layer(LayerIndex index) const;  // nullptr for one without experts
  // Expected uses per token of every expert in decoding, [space.size()]: top-k times its part of
  // the layer's `recent`. Zero for layers without experts or without uses.
  std::vector<float> popularity() const;
};

// Follows decisions and counts them. All memory is taken in the constructor, observe() allocates
// nothing. The partners are counted exactly, 4 bytes for each pair of experts of neighbouring
// layers (3 MB for 48 layers of 128 experts, 50 MB for 48 of 512).
//
// A step of one row is a generated token, one of several rows a part of a prompt. Rows are
// consecutive tokens of one sequence; a position that does not follow the last one begins a new
// sequence, and no distance of reuse is counted across its beginning.
class ProfileRecorder {
 public:
  // Continues `profile` (counts so far, or an empty one with its layers and their experts laid
  // out).
  ProfileRecorder(ExpertProfile profile, const std::string& workload);
  ~ProfileRecorder();
  ProfileRecorder(ProfileRecorder&&) noexcept;
  ProfileRecorder& operator=(ProfileRecorder&&) noexcept;

  void observe(const Routing& routing);  // every decision, layers ascending within a step
  ExpertProfile profile() const;         // so far; allocates

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// An empty profile of this shape: experts[layer] per block, 0 where it has none.
ExpertProfile empty_profile(const ModelIdentity& model,
                            const std::vector<std::uint32_t>& experts_of_layer);

// Whether both have the same layers with as many experts.
bool same_shape(const ExpertProfile& first, const ExpertProfile& second);

}  // namespace hearth::profiler
