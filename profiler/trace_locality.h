// What a trace says of the locality of routing, layer by layer: how even the use of experts is, how
// soon they are used again, and what a recency cache of every size would hit.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "profiler/routing_trace.h"

namespace hearth::profiler {

inline constexpr std::size_t kReuseWindow = 64;  // tokens that are told apart

struct LayerLocality {
  LayerIndex layer = 0;
  std::vector<std::uint64_t> uses;  // per expert of the layer
  std::uint64_t total = 0;          // of all experts: tokens x top-k
  // Uses whose expert was last used so many tokens ago; the last entry: longer ago. First uses are
  // not counted.
  std::array<std::uint64_t, kReuseWindow + 1> reused_after{};
  // Uses of experts before which so many others of the layer had been used since: with more slots
  // of its own than that, a layer with LRU hits.
  std::vector<std::uint64_t> others_between;

  std::uint32_t touched() const;                   // experts that were used at all
  double lru_hit_rate(std::uint32_t slots) const;  // of a cache for this layer alone
  double covered(std::uint32_t hottest) const;     // part of the uses that go to so many
  double covered_by(const LayerLocality& other, std::uint32_t hottest) const;  // hottest of other
  std::uint32_t experts_covering(double part) const;                           // the fewest that do
};

struct TraceLocality {
  std::vector<LayerLocality> layers;  // as in the header of the trace

  // Mean over layers and tokens.
  double reused_within(std::uint32_t tokens) const;  // part of uses, at most kReuseWindow tokens
  double lru_hit_rate(std::uint32_t slots_per_layer) const;
  double mean_touched() const;
  double covered(std::uint32_t hottest) const;
  double experts_covering(double part) const;
};

// A token of a prompt counts as one that was decoded. A new sequence does not end the reuse of an
// expert: what is cached stays.
TraceLocality measure_locality(const RoutingTrace& trace);

}  // namespace hearth::profiler
