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
  Bytes state;
  Bytes scratch;
  Bytes experts;                              // all slots
  std::vector<std::uint32_t> slots_of_class;  // as ModelNeeds::classes

  std::uint32_t slots() const;
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
  std::vector<ExpertId> seed;       // into the fastest tier with slots, most wanted first
  std::vector<float> seed_uses;     // of each of these, expected per token
  std::optional<HitEstimate> hits;  // of the fastest tier with slots; with a machine
  std::optional<DecodePrediction> prediction;  // likewise
  std::vector<std::string> notes;              // what else a reader should know, a line each
};

}  // namespace hearth::profiler
