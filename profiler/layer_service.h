// The order in which the experts of one routing decision take slots and give them back. The engine
// and the replay of a trace both follow it, so that hits, misses and evictions are a function of
// the routing alone, whenever reads finish and whatever is computed first.
//
// The list is that of the distinct experts in order of first appearance, those present before those
// absent. It is worked off from both sides of a window:
//
//   [ given back | taken | waiting ]
//
// An expert is given back only after all before it, and each time the waiting ones take what slots
// there are, in order, until one finds none. Present experts come first and always find theirs, so
// no fill can evict an expert that this decision needs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/function_ref.h"
#include "base/ids.h"
#include "profiler/routing.h"

namespace hearth::profiler {

class LayerService {
 public:
  // For layers of at most so many experts; nothing allocates later.
  explicit LayerService(std::uint32_t most_experts);

  // `present`: resident or on its way.
  void begin(const Routing& routing, FunctionRef<bool(ExpertId)> present);

  std::span<const ExpertId> experts() const { return experts_; }  // the list; places count from 0
  std::size_t present() const { return present_; }                // the first so many of it
  bool finished() const { return given_back_ == experts_.size(); }

  // `take` leases the expert at a place, after beginning to fill it if it is absent; false when
  // there is no slot now.
  void take_waiting(FunctionRef<bool(std::size_t)> take);

  struct Verbs {
    FunctionRef<bool(std::size_t)> done;  // the expert at a place was taken: has it been computed?
    FunctionRef<void(std::size_t)> give_back;  // releases its lease
    FunctionRef<bool(std::size_t)> take;
  };
  // Gives back, in order, up to the first that is not done.
  void give_back_done(const Verbs& verbs);

 private:
  std::vector<ExpertId> experts_;
  std::vector<ExpertId> absent_;          // scratch of begin()
  std::vector<std::uint64_t> listed_in_;  // [experts of a layer]: decision that last listed it
  std::uint64_t decision_ = 0;
  std::size_t present_ = 0;
  std::size_t taken_ = 0;
  std::size_t given_back_ = 0;
};

}  // namespace hearth::profiler
