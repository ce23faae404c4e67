#include "profiler/replay.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "profiler/layer_service.h"
#include "profiler/replay_setup.h"

namespace hearth::profiler {
namespace {

// A residency and what it serves, step by step.
class Replay {
 public:
  Replay(const RoutingTrace& trace, const ReplayMemory& memory, const ReplayOptions& options)
      : trace_(trace),
        memory_(memory),
        space_(trace.header().space()),
        residency_(make_residency(trace, memory, options)),
        service_(space_.experts_per_layer) {}

  // The most wanted last, so that it is the most recent.
  void seed(std::span<const ExpertId> most_wanted_first) {
    for (std::size_t i = most_wanted_first.size(); i > 0; --i) {
      const ExpertId id = most_wanted_first[i - 1];
      CHECK(residency_.begin_fill(id, FillReason::kSeed).has_value());
      residency_.fill_done(id);
    }
  }

  // Returns the bytes of what it missed.
  Bytes step(std::size_t index) {
    residency_.begin_step();
    Bytes missed;
    for (std::size_t layer = 0; layer < trace_.header().layers.size(); ++layer)
      missed += serve(trace_.decision(index, layer));
    return missed;
  }

  const Residency& residency() const { return residency_; }

 private:
  static Residency make_residency(const RoutingTrace& trace, const ReplayMemory& memory,
                                  const ReplayOptions& options) {
    const ExpertSpace space = trace.header().space();
    auto policy = make_policy(options.policy, {.space = space,
                                               .size_class_of = memory.size_class_of,
                                               .slots_of_class = memory.slots_of_class,
                                               .popularity = options.popularity});
    CHECK(policy != nullptr);  // names are validated where they are read
    return Residency({space, memory.size_class_of, memory.slots_of_class}, std::move(policy));
  }

  Bytes serve(const Routing& routing) {
    residency_.observe(routing);
    service_.begin(routing,
                   [this](ExpertId id) { return residency_.state(id) != ExpertState::kAbsent; });
    const auto take_place = [this](std::size_t place) { return take(service_.experts()[place]); };
    service_.take_waiting(take_place);
    service_.give_back_done(
        {.done = [](std::size_t) { return true; },
         .give_back = [this](std::size_t place) { give_back(service_.experts()[place]); },
         .take = take_place});
    CHECK(service_.finished());  // a class without slots can serve nobody
    Bytes missed;
    for (const ExpertId id : service_.experts().subspan(service_.present()))
      missed += memory_.expert_bytes_of_class[memory_.size_class_of[space_.flat(id)]];
    return missed;
  }

  bool take(ExpertId id) {
    if (residency_.state(id) == ExpertState::kAbsent &&
        !residency_.begin_fill(id, FillReason::kDemand))
      return false;
    residency_.lease(id);
    return true;
  }

  void give_back(ExpertId id) {
    if (residency_.state(id) == ExpertState::kFilling) residency_.fill_done(id);
    residency_.release(id);
  }

  const RoutingTrace& trace_;
  const ReplayMemory& memory_;
  const ExpertSpace space_;
  Residency residency_;
  LayerService service_;
};

ResidencyCounters since(const ResidencyCounters& before, const ResidencyCounters& now) {
  return {.hits = now.hits - before.hits,
          .misses = now.misses - before.misses,
          .evictions = now.evictions - before.evictions};
}

}  // namespace

double ReplayResult::hit_rate() const {
  const std::uint64_t routed = total.hits + total.misses;
  return routed == 0 ? 1 : static_cast<double>(total.hits) / static_cast<double>(routed);
}

ReplayResult replay(const RoutingTrace& trace, const ReplayMemory& memory,
                    const ReplayOptions& options) {
  const ReplaySteps steps = steps_of(trace, options);
  Replay replay(trace, memory, options);
  replay.seed(seed_that_fits(trace, memory, options));
  for (std::size_t step = steps.first; step < steps.counted; ++step) replay.step(step);

  ReplayResult result = empty_result(trace, steps);
  const Residency& residency = replay.residency();
  const ResidencyCounters total_before = residency.counters();
  for (LayerIndex layer = 0; layer < result.layers.size(); ++layer)
    result.layers[layer] = residency.counters(layer);
  for (std::size_t step = steps.counted; step < steps.last; ++step)
    result.missed += replay.step(step);
  result.total = since(total_before, residency.counters());
  for (LayerIndex layer = 0; layer < result.layers.size(); ++layer)
    result.layers[layer] = since(result.layers[layer], residency.counters(layer));
  return result;
}

namespace {

// The most popular experts of each class, as many as it has slots; the lower number wins a tie.
std::vector<bool> static_set(const ReplayMemory& memory, std::span<const float> popularity) {
  std::vector<bool> held(popularity.size());
  for (std::size_t size_class = 0; size_class < memory.slots_of_class.size(); ++size_class) {
    std::vector<std::uint32_t> members;
    for (std::uint32_t expert = 0; expert < popularity.size(); ++expert)
      if (memory.size_class_of[expert] == size_class) members.push_back(expert);
    std::stable_sort(members.begin(), members.end(), [&](std::uint32_t a, std::uint32_t b) {
      return popularity[a] > popularity[b];
    });
    members.resize(std::min<std::size_t>(members.size(), memory.slots_of_class[size_class]));
    for (const std::uint32_t expert : members) held[expert] = true;
  }
  return held;
}

}  // namespace

ReplayResult replay_static(const RoutingTrace& trace, const ReplayMemory& memory,
                           const ReplayOptions& options) {
  const ReplaySteps steps = steps_of(trace, options);
  const ExpertSpace space = trace.header().space();
  CHECK_EQ(options.popularity.size(), space.size());
  CHECK_EQ(memory.size_class_of.size(), space.size());
  const std::vector<bool> held = static_set(memory, options.popularity);
  LayerService service(space.experts_per_layer);
  ReplayResult result = empty_result(trace, steps);
  for (std::size_t step = steps.counted; step < steps.last; ++step) {
    for (std::size_t nth = 0; nth < trace.header().layers.size(); ++nth) {
      const Routing routing = trace.decision(step, nth);
      service.begin(routing, [&](ExpertId id) { return held[space.flat(id)]; });
      ResidencyCounters& layer = result.layers[routing.layer];
      layer.hits += service.present(), result.total.hits += service.present();
      for (const ExpertId id : service.experts().subspan(service.present())) {
        ++layer.misses, ++result.total.misses;
        result.missed += memory.expert_bytes_of_class[memory.size_class_of[space.flat(id)]];
      }
    }
  }
  return result;
}

RoutingTrace token_by_token(const RoutingTrace& trace) {
  RoutingTrace tokens(trace.header());
  for (std::size_t step = 0; step < trace.steps(); ++step) {
    const TraceStep& whole = trace.step(step);
    for (std::uint32_t row = 0; row < whole.rows; ++row) {
      tokens.begin_step({.position = whole.position + row, .rows = 1});
      for (std::size_t nth = 0; nth < trace.header().layers.size(); ++nth)
        tokens.add(row_of(trace.decision(step, nth), row));
    }
  }
  return tokens;
}

std::vector<float> popularity_of(const RoutingTrace& trace, std::size_t first, std::size_t last) {
  CHECK_LE(first, last);
  CHECK_LE(last, trace.steps());
  const ExpertSpace space = trace.header().space();
  std::vector<std::uint64_t> uses(space.size());
  std::uint64_t tokens = 0;
  for (std::size_t step = first; step < last; ++step) {
    tokens += trace.step(step).rows;
    for (std::size_t nth = 0; nth < trace.header().layers.size(); ++nth) {
      const Routing routing = trace.decision(step, nth);
      for (const std::uint16_t index : routing.experts) ++uses[space.flat({routing.layer, index})];
    }
  }
  std::vector<float> popularity(uses.size());
  if (tokens == 0) return popularity;
  for (std::size_t expert = 0; expert < uses.size(); ++expert)
    popularity[expert] =
        static_cast<float>(static_cast<double>(uses[expert]) / static_cast<double>(tokens));
  return popularity;
}

ReplayMemory uniform_memory(const RoutingTrace& trace, double share) {
  CHECK(share >= 0 && share <= 1);
  const TraceHeader& header = trace.header();
  const ExpertSpace space = header.space();
  ReplayMemory memory{std::vector<std::uint8_t>(space.size(), Residency::kNoClass), {}, {Bytes(0)}};
  std::uint32_t experts = 0;
  for (const TraceLayer& layer : header.layers) {
    experts += layer.experts;
    for (std::uint32_t expert = 0; expert < layer.experts; ++expert)
      memory.size_class_of[space.flat({layer.layer, static_cast<std::uint16_t>(expert)})] = 0;
  }
  const auto slots = static_cast<std::uint32_t>(std::lround(share * experts));
  memory.slots_of_class = {std::max(slots, header.experts_per_row)};
  return memory;
}

}  // namespace hearth::profiler
