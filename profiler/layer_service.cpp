#include "profiler/layer_service.h"

#include "base/check.h"

namespace hearth::profiler {

LayerService::LayerService(std::uint32_t most_experts) : listed_in_(most_experts) {
  experts_.reserve(most_experts);
  absent_.reserve(most_experts);
}

void LayerService::begin(const Routing& routing, FunctionRef<bool(ExpertId)> present) {
  ++decision_;
  experts_.clear();
  absent_.clear();
  for (const std::uint16_t index : routing.experts) {
    CHECK_LT(index, listed_in_.size());
    if (listed_in_[index] == decision_) continue;
    listed_in_[index] = decision_;
    const ExpertId id{routing.layer, index};
    (present(id) ? experts_ : absent_).push_back(id);
  }
  present_ = experts_.size();
  experts_.insert(experts_.end(), absent_.begin(), absent_.end());
  taken_ = 0;
  given_back_ = 0;
}

void LayerService::take_waiting(FunctionRef<bool(std::size_t)> take) {
  while (taken_ < experts_.size() && take(taken_)) ++taken_;
}

void LayerService::give_back_done(const Verbs& verbs) {
  while (given_back_ < taken_ && verbs.done(given_back_)) {
    verbs.give_back(given_back_);
    ++given_back_;
    take_waiting(verbs.take);
  }
}

}  // namespace hearth::profiler
