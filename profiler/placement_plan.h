// What lives where: everything the engine will take, to the byte, before it takes any of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/units.h"
#include "profiler/cost_model.h"
#include "profiler/hit_estimate.h"
#include "profiler/model_identity.h"

namespace hearth::profiler {

// What one memory holds.
struct TierPlan {
  Bytes process;  // RAM: the process; VRAM: driver and context
  Bytes dense;
  Bytes kv;
  std::uint32_t positions = 0;  // that kv is for, and grows beyond; 0: all of the context
  Bytes state;
  Bytes scratch;
  Bytes experts;                              // all slots
  std::vector<std::uint32_t> slots_of_class;  // as ModelNeeds::classes
  // VRAM: of these, for good; their experts need no RAM. The others follow what is used.
  std::vector<std::uint32_t> held_of_class;

  std::uint32_t slots() const;
  std::uint32_t held() const;
  Bytes total() const { return process + dense + kv + state + scratch + experts; }
};

struct PlacementPlan {
  ModelIdentity model;
  std::uint32_t context = 0;
  std::uint32_t batch = 0;
  std::uint32_t threads = 0;
  std::string key_format = "f16", value_format = "f16";
  std::uint32_t kv_tail = 0;  // newest positions that are kept in f16, too
  bool kv_rotation = true;    // of quantized keys and values
  TierPlan ram;
  std::optional<TierPlan> vram;
  std::uint32_t experts = 0;  // in all layers; those in no tier are on disk
  std::string policy;
  std::string policy_reason;  // in plain words
  bool prefetch = true;
  std::vector<ExpertId> seed;       // in memory before the first token, most wanted first
  std::vector<float> seed_uses;     // of each of these, expected per token
  std::optional<HitEstimate> hits;  // of the fastest tier with slots; with a machine
  std::optional<DecodePrediction> prediction;  // likewise
  std::vector<std::string> notes;              // what else a reader should know, a line each

  // Of a class in both tiers together: experts that are held need no slot in RAM, all others have
  // one there, or follow traffic in VRAM.
  std::uint32_t slots_together(std::size_t size_class) const;
  // Every expert has its slot there for good: keys and values do not grow into any.
  bool all_in_vram() const { return vram && vram->positions == 0 && vram->slots() == experts; }
};

// Of the seed, as ExpertProfile::popularity(); empty without one.
std::vector<float> popularity_of_seed(const PlacementPlan& plan, const ExpertSpace& space);

}  // namespace hearth::profiler
