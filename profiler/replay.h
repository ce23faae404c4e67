// Runs a trace through a cache policy: the same objects and the same order of events as in the
// engine (profiler/layer_service.h), so that hits, misses and evictions are those the engine would
// have (without prefetch, whose success depends on time).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "profiler/residency.h"
#include "profiler/routing_trace.h"

namespace hearth::profiler {

// The expert memory a trace is replayed in.
struct ReplayMemory {
  std::vector<std::uint8_t> size_class_of;    // [space.size()], Residency::kNoClass: no such expert
  std::vector<std::uint32_t> slots_of_class;  // per size class; one that is routed to has some
  std::vector<Bytes> expert_bytes_of_class;   // what a miss reads
};

struct ReplayOptions {
  std::string_view policy;
  std::span<const float> popularity = {};     // of a profile, see PolicyInput; may be empty
  std::span<const ExpertId> seed = {};        // resident at the start, most wanted first
  std::size_t first_step = 0;                 // of the trace
  std::optional<std::size_t> last_step = {};  // of the trace, one past the end
  std::size_t count_from = 0;                 // a step of the trace: those before only warm up
};

struct ReplayResult {
  ResidencyCounters total;
  std::vector<ResidencyCounters> layers;  // [space.layers]
  Bytes missed;                           // bytes of all misses
  std::uint64_t rows = 0;                 // tokens counted
  double hit_rate() const;                // 1 where nothing was routed
};

ReplayResult replay(const RoutingTrace& trace, const ReplayMemory& memory,
                    const ReplayOptions& options);

// No policy can have more hits: one that knows the future and, on each miss, gives up the expert
// whose next use lies farthest ahead (Belady 1966). It begins to count with the best contents that
// the seed and the steps before could have left. Takes slots, steps and seed; no policy.
ReplayResult replay_belady(const RoutingTrace& trace, const ReplayMemory& memory,
                           const ReplayOptions& options);

// A set that never changes: as many of the most popular experts of each class as there are slots.
// Takes the popularity, which must not be empty, and the steps that count.
ReplayResult replay_static(const RoutingTrace& trace, const ReplayMemory& memory,
                           const ReplayOptions& options);

// The same tokens in steps of one, as if none of them had been part of a prompt.
RoutingTrace token_by_token(const RoutingTrace& trace);

// Uses per token of every expert in the steps [first, last) of a trace, [space.size()].
std::vector<float> popularity_of(const RoutingTrace& trace, std::size_t first, std::size_t last);

// All experts of the trace in one size class, with a share of them as slots, but no fewer than the
// top-k. What an expert weighs is not known then: its bytes are 0.
ReplayMemory uniform_memory(const RoutingTrace& trace, double share);

}  // namespace hearth::profiler
