// Routing traces made from a few numbers instead of from a model, so that policies can be judged on
// the routing of models that are not at hand. Every number is a property that people measure: how
// lasting the popularity of experts is, how soon they are used again, how layers differ, and how a
// change of topic shows.
//
// An expert's chance to be chosen is 2 to the power of a sum: its lasting popularity, its part in
// the current topic, and moods that change after a random time. The experts of a token are drawn by
// these chances without replacement (Plackett & Luce; the same as a top-k of scores with Gumbel
// noise). Weights are integers, and nothing is rounded by a mathematical library: one seed gives
// one trace on every platform.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "profiler/routing_trace.h"

namespace hearth::profiler {

// Strengths are standard deviations in octaves: doublings of the chance to be chosen.
struct Mood {
  double strength = 0;
  double tokens = 1;  // that it lasts on average, at least 1
  bool operator==(const Mood&) const = default;
};

struct SyntheticRouting {
  std::string name;
  std::uint32_t layers = 1;   // all of them with experts
  std::uint32_t experts = 1;  // per layer
  std::uint32_t experts_per_row = 1;

  double skew = 0;          // strength of lasting popularity
  std::vector<Mood> moods;  // reuse between tokens: short ones and long ones
  // Early layers choose more evenly: layer 0 has this part of all strengths, and each further one
  // an equal step more, up to the whole in layer `even_layers`.
  double first_layer = 1;
  std::uint32_t even_layers = 0;
  double layer_spread = 0;  // strengths of a layer are up to this part larger or smaller

  // Topics `first_topic` and following; another one begins every `topic_tokens`.
  double topic_strength = 0;
  std::uint32_t topics = 1;
  std::uint32_t topic_tokens = 1;
  std::uint32_t first_topic = 0;

  std::uint64_t model_seed = 1;  // of popularity and topics: what two traces of a model share
  std::uint64_t seed = 1;        // of everything else
};

inline constexpr std::uint32_t kMostSyntheticLayers = 1024;
inline constexpr std::uint32_t kMostSyntheticExperts = 4096;

// Named after models whose published figures they reach; see synthetic_presets.cpp.
std::span<const SyntheticRouting> synthetic_presets();
// Null for an unknown name.
const SyntheticRouting* find_synthetic_preset(std::string_view name);

// A decoded sequence: one token a step, no weights. Throws Error(kUsage) for numbers out of range.
RoutingTrace make_synthetic_trace(const SyntheticRouting& routing, std::uint32_t tokens,
                                  const std::string& workload);

}  // namespace hearth::profiler
