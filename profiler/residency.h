// Which expert is in which slot: the state machine of one memory tier, without the memory.
//
// Owned by one thread. Slots come in size classes; an expert fits the slots of its own class.
//
//   absent --begin_fill--> filling --fill_done--> ready --(victim of a begin_fill)--> absent
//                             \--fill_failed--> absent
//
// The slots of a class can be fewer than at the start, and as many again: those in use are the
// first.
//
// Invariants: an expert has at most one slot and a slot at most one expert; an expert with leases,
// or one being filled, is never a victim; an expert used in the current step is never a victim of a
// prefetch, and neither is one used in the step before (a prefetch never evicts a live entry).
// Nothing allocates after construction.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/function_ref.h"
#include "base/ids.h"
#include "profiler/cache_policy.h"

namespace hearth::profiler {

enum class ExpertState : std::uint8_t { kAbsent, kFilling, kReady };
enum class FillReason : std::uint8_t { kDemand, kPrefetch, kSeed };

struct SlotId {
  std::uint8_t size_class = 0;
  std::uint32_t index = 0;  // within the class
  auto operator<=>(const SlotId&) const = default;
};

struct ResidencyCounters {
  std::uint64_t hits = 0;             // routed experts found ready, or already on their way
  std::uint64_t misses = 0;           // routed experts that were absent
  std::uint64_t evictions = 0;        // of this layer's experts, for whichever other one
  std::uint64_t prefetches = 0;       // fills begun for kPrefetch
  std::uint64_t prefetches_used = 0;  // of those, later routed before being evicted
};

class Residency {
 public:
  struct Config {
    ExpertSpace space;
    std::vector<std::uint8_t> size_class_of;    // [space.size()]; kNoClass: expert does not exist
    std::vector<std::uint32_t> slots_of_class;  // per size class: at the start, and at most
  };
  static constexpr std::uint8_t kNoClass = std::numeric_limits<std::uint8_t>::max();

  Residency(Config config, std::unique_ptr<CachePolicy> policy);

  // A step is one pass over the layers: one token, or one chunk of a prompt.
  void begin_step();

  // Reports a routing decision to the policy and counts hits and misses, once for each distinct
  // expert of the decision, in order of first appearance.
  void observe(const Routing& routing);

  ExpertState state(ExpertId id) const;
  std::optional<SlotId> slot(ExpertId id) const;  // of a filling or ready expert

  // Gives `id` (absent) a slot of its class: a free one, else a victim's. Empty when there is no
  // slot to be had now: all are leased or filling, or, for kPrefetch, live.
  std::optional<SlotId> begin_fill(ExpertId id, FillReason reason);
  void fill_done(ExpertId id);
  void fill_failed(ExpertId id);
  // Gives up every ready expert that is not leased; what the policy learned of them stays.
  void evict_all();

  // The class has this many slots from now on. With fewer, victims of the policy go, which are no
  // evictions for another expert, and those that stay `move` from the last slots to the first; all
  // of the class are ready and none is leased.
  void set_slots(std::uint8_t size_class, std::uint32_t slots,
                 FunctionRef<void(SlotId from, SlotId to)> move);

  void lease(ExpertId id);  // of a ready or filling expert; counted
  void release(ExpertId id);
  std::uint32_t leases(ExpertId id) const;

  const ResidencyCounters& counters() const;
  const ResidencyCounters& counters(LayerIndex layer) const;
  std::uint32_t slots(std::uint8_t size_class) const;
  std::uint32_t free_slots(std::uint8_t size_class) const;
  std::uint32_t resident(LayerIndex layer) const;  // ready experts of a layer

 private:
  struct Expert {
    std::uint64_t observed_in = 0;  // decision that last counted it
    std::uint64_t used_in = 0;      // step of the last use; a fill for one counts
    std::uint32_t slot = 0;
    std::uint32_t leases = 0;
    ExpertState state = ExpertState::kAbsent;
    bool prefetched = false;  // and not routed since
  };
  struct SizeClass {
    std::uint32_t slots = 0;
    std::vector<std::uint32_t> free;  // a stack of slots
    // No prefetch finds a victim in this step any more, so that hopeless searches are not repeated.
    std::uint64_t exhausted_in = 0;
  };

  std::uint32_t flat(ExpertId id) const;
  Expert& expert(ExpertId id) { return experts_[flat(id)]; }
  const Expert& expert(ExpertId id) const { return experts_[flat(id)]; }
  bool live(const Expert& expert) const { return expert.used_in + 1 >= step_; }
  void observe(ExpertId id);
  bool evict_for(std::uint8_t size_class, FillReason reason);
  void vacate(ExpertId id);
  void put_free(SizeClass& of, std::uint32_t begin, std::uint32_t end);
  void may_have_become_evictable(ExpertId id);

  const Config config_;
  const std::unique_ptr<CachePolicy> policy_;
  std::vector<Expert> experts_;
  std::vector<SizeClass> classes_;
  ResidencyCounters total_;
  std::vector<ResidencyCounters> layer_counters_;
  std::vector<std::uint32_t> resident_of_layer_;
  std::uint64_t step_ = 2;  // used_in = 0, never, is then neither this step nor the one before
  std::uint64_t decision_ = 0;
};

}  // namespace hearth::profiler
