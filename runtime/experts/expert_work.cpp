#include "runtime/experts/expert_work.h"

#include "base/check.h"

namespace hearth::runtime {

using profiler::ExpertState;

ExpertWorkList::ExpertWorkList(std::uint32_t most_experts) : service_(most_experts) {
  items_.reserve(most_experts);
}

void ExpertWorkList::begin(const profiler::Routing& routing, const ExpertStore& store) {
  CHECK(items_.empty());
  service_.begin(routing, [&](ExpertId id) { return store.state(id) != ExpertState::kAbsent; });
  for (const ExpertId id : service_.experts()) items_.push_back({.id = id});
}

void ExpertWorkList::advance(ExpertStore& store) {
  queue_full_ = false;
  const auto take_at = [&](std::size_t place) { return take(store, items_[place]); };
  const auto done = [&](std::size_t place) { return items_[place].computed && !queue_full_; };
  const auto give_back = [&](std::size_t place) { items_[place].lease.reset(); };
  service_.take_waiting(take_at);
  service_.give_back_done({done, give_back, take_at});
}

bool ExpertWorkList::take(ExpertStore& store, ExpertWork& work) {
  if (store.state(work.id) == ExpertState::kAbsent) {
    const FetchResult result = store.fetch(work.id, profiler::FillReason::kDemand);
    queue_full_ = result == FetchResult::kQueueFull;
    if (result != FetchResult::kStarted) return false;
  }
  work.lease = store.lease(work.id);
  return true;
}

}  // namespace hearth::runtime
