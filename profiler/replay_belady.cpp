#include <algorithm>
#include <limits>
#include <queue>
#include <utility>
#include <vector>

#include "base/check.h"
#include "profiler/layer_service.h"
#include "profiler/replay.h"
#include "profiler/replay_setup.h"

namespace hearth::profiler {
namespace {

using Expert = std::uint32_t;    // flat
using Decision = std::uint32_t;  // counted from the first that counts
constexpr Decision kNever = std::numeric_limits<Decision>::max();

// The distinct experts of every decision that counts, and when each is wanted next.
struct Future {
  struct Use {
    Expert expert = 0;
    Decision next = kNever;
  };
  std::vector<Use> uses;
  std::vector<std::size_t> ends;    // per decision
  std::vector<Decision> first_use;  // per expert
};

Future look_ahead(const RoutingTrace& trace, const ReplaySteps& steps) {
  const ExpertSpace space = trace.header().space();
  const std::size_t layers = trace.header().layers.size();
  CHECK_LT((steps.last - steps.counted) * layers, std::size_t{kNever});
  LayerService service(space.experts_per_layer);
  Future future;
  for (std::size_t step = steps.counted; step < steps.last; ++step)
    for (std::size_t nth = 0; nth < layers; ++nth) {
      service.begin(trace.decision(step, nth), [](ExpertId) { return true; });
      for (const ExpertId id : service.experts()) future.uses.push_back({.expert = space.flat(id)});
      future.ends.push_back(future.uses.size());
    }
  future.first_use.assign(space.size(), kNever);
  for (std::size_t decision = future.ends.size(), use = future.uses.size(); decision-- > 0;)
    for (const std::size_t begin = decision > 0 ? future.ends[decision - 1] : 0; use > begin;) {
      Future::Use& seen = future.uses[--use];
      seen.next = std::exchange(future.first_use[seen.expert], static_cast<Decision>(decision));
    }
  return future;
}

// Memory that gives up what is wanted latest. In each size class a heap has the farthest use of
// what is held on top; entries that a later use has outdated stay in it until they come up.
class Belady {
 public:
  Belady(const ReplayMemory& memory, const ExpertSpace& space, std::vector<Decision> first_use)
      : memory_(memory),
        space_(space),
        next_use_(std::move(first_use)),
        is_held_(space.size()),
        classes_(memory.slots_of_class.size()) {
    CHECK_EQ(memory.size_class_of.size(), space.size());
    for (std::size_t i = 0; i < classes_.size(); ++i) classes_[i].slots = memory.slots_of_class[i];
  }

  // Begins with the best of these.
  void begin_with(std::span<const ExpertId> experts) {
    for (const ExpertId id : experts) {
      const Expert expert = space_.flat(id);
      if (!hold(expert)) class_of(expert).farthest.emplace(next_use_[expert], expert);
    }
    for (SizeClass& size_class : classes_) trim(size_class, nullptr);
  }

  // An engine holds all experts of a decision at once if they fit, so none of them may go for
  // another; of more experts than slots, those of the nearest next use stay.
  void serve(LayerIndex layer, std::span<const Future::Use> uses, ReplayResult& result) {
    bool all_fit = true;
    for (const Future::Use& use : uses) {
      SizeClass& size_class = class_of(use.expert);
      all_fit &= ++size_class.wanted <= size_class.slots;
      next_use_[use.expert] = use.next;
      count(hold(use.expert), layer, use.expert, result);
    }
    if (!all_fit) expect(uses);
    for (SizeClass& size_class : classes_) trim(size_class, &result), size_class.wanted = 0;
    if (all_fit) expect(uses);
  }

 private:
  struct SizeClass {
    std::priority_queue<std::pair<Decision, Expert>> farthest;
    std::uint32_t slots = 0;
    std::uint32_t held = 0;    // before a trim also more than there are slots
    std::uint32_t wanted = 0;  // by the present decision
  };

  SizeClass& class_of(Expert expert) {
    CHECK_LT(memory_.size_class_of[expert], classes_.size());
    return classes_[memory_.size_class_of[expert]];
  }

  // True if it was held.
  bool hold(Expert expert) {
    if (is_held_[expert]) return true;
    is_held_[expert] = true;
    ++class_of(expert).held;
    return false;
  }

  void expect(std::span<const Future::Use> uses) {
    for (const Future::Use& use : uses) class_of(use.expert).farthest.emplace(use.next, use.expert);
  }

  void count(bool hit, LayerIndex layer, Expert expert, ReplayResult& result) const {
    for (ResidencyCounters* counters : {&result.total, &result.layers[layer]})
      ++(hit ? counters->hits : counters->misses);
    if (!hit) result.missed += memory_.expert_bytes_of_class[memory_.size_class_of[expert]];
  }

  void trim(SizeClass& size_class, ReplayResult* result) {
    while (size_class.held > size_class.slots) {
      const auto [next, expert] = size_class.farthest.top();
      size_class.farthest.pop();
      if (!is_held_[expert] || next_use_[expert] != next) continue;  // outdated
      is_held_[expert] = false;
      --size_class.held;
      if (result == nullptr) continue;
      ++result->total.evictions, ++result->layers[space_.id(expert).layer].evictions;
    }
  }

  const ReplayMemory& memory_;
  const ExpertSpace space_;
  std::vector<Decision> next_use_;
  std::vector<bool> is_held_;
  std::vector<SizeClass> classes_;
};

// Whatever could be in memory when counting begins.
std::vector<ExpertId> seen_before(const RoutingTrace& trace, const ReplaySteps& steps,
                                  std::vector<ExpertId> seed) {
  for (std::size_t step = steps.first; step < steps.counted; ++step)
    for (std::size_t nth = 0; nth < trace.header().layers.size(); ++nth) {
      const Routing routing = trace.decision(step, nth);
      for (const std::uint16_t index : routing.experts) seed.push_back({routing.layer, index});
    }
  return seed;
}

}  // namespace

ReplayResult replay_belady(const RoutingTrace& trace, const ReplayMemory& memory,
                           const ReplayOptions& options) {
  const ReplaySteps steps = steps_of(trace, options);
  Future future = look_ahead(trace, steps);
  Belady belady(memory, trace.header().space(), std::move(future.first_use));
  belady.begin_with(seen_before(trace, steps, seed_that_fits(trace, memory, options)));
  ReplayResult result = empty_result(trace, steps);
  const std::vector<TraceLayer>& layers = trace.header().layers;
  std::size_t begin = 0;
  for (std::size_t decision = 0; decision < future.ends.size(); ++decision) {
    const std::size_t end = future.ends[decision];
    belady.serve(layers[decision % layers.size()].layer,
                 std::span(future.uses).subspan(begin, end - begin), result);
    begin = end;
  }
  return result;
}

}  // namespace hearth::profiler
