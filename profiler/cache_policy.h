// Which resident expert goes when room is needed. A policy sees ids, never bytes, locks or streams;
// the same object runs in the engine and in a replay of a trace, and a sequence of calls has one
// outcome. All memory is taken in the constructor.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "base/ids.h"
#include "profiler/routing.h"

namespace hearth::profiler {

class CachePolicy {
 public:
  virtual ~CachePolicy() = default;
  virtual std::string_view name() const = 0;

  virtual void on_routed(const Routing& routing) = 0;  // every decision, before its hits and misses
  virtual void on_hit(ExpertId id) = 0;                // a routed expert that was resident
  virtual void on_insert(ExpertId id) = 0;             // now resident or on its way
  virtual void on_evict(ExpertId id) = 0;              // chosen here, or given up by the owner

  // The class has this many slots from now on, and at most so many residents.
  virtual void on_slots(std::uint8_t /*size_class*/, std::uint32_t /*slots*/) {}

  // The resident expert of `size_class` to give up, among those `may_evict` allows (not leased, not
  // live); empty if it allows none. Does not change the policy: on_evict follows.
  virtual std::optional<ExpertId> choose_victim(std::uint8_t size_class,
                                                FunctionRef<bool(ExpertId)> may_evict) = 0;
};

// What a policy may know of the memory it works for.
struct PolicyInput {
  ExpertSpace space;
  std::span<const std::uint8_t> size_class_of;    // [space.size()]
  std::span<const std::uint32_t> slots_of_class;  // per size class, until on_slots()
  // Expected uses per token of every expert, from a profile [space.size()]; empty: nothing is
  // known.
  std::span<const float> popularity = {};
};

// Known names, in the order to print them; see profiler/policies/policies.def.
std::span<const std::string_view> policy_names();
// Empty for an unknown name.
std::unique_ptr<CachePolicy> make_policy(std::string_view name, const PolicyInput& input);
// The policy to take where nothing was measured; see choose_policy() for where something was.
std::string_view recommend_policy();

}  // namespace hearth::profiler
