#include "runtime/gpu/expert_bytes.h"

#include "base/check.h"

namespace hearth::runtime {

using io::AsyncReader;

StoredExpertBytes::StoredExpertBytes(ExpertStore& store, std::uint32_t most_experts)
    : store_(store), work_(most_experts), place_of_(most_experts) {
  arrived_.reserve(most_experts);
}

void StoredExpertBytes::begin(LayerIndex layer, std::span<const std::uint16_t> experts) {
  for (std::uint32_t place = 0; place < experts.size(); ++place) place_of_[experts[place]] = place;
  const profiler::Routing missing{.layer = layer,
                                  .rows = 1,
                                  .experts_per_row = static_cast<std::uint32_t>(experts.size()),
                                  .experts = experts};
  store_.observe(missing);
  work_.begin(missing, store_);
  work_.advance(store_);
}

std::span<const ArrivedExpert> StoredExpertBytes::arrived() {
  arrived_.clear();
  store_.collect(AsyncReader::Wait::kNow);
  while (true) {
    for (ExpertWork& work : work_.items()) {
      if (!work.can_compute()) continue;
      work.computed = true;  // its lease is held until computed()
      arrived_.push_back({.place = place_of_[work.id.index], .weights = work.lease.weights()});
    }
    if (!arrived_.empty()) return arrived_;
    work_.advance(store_);
    CHECK(store_.reading());  // else nothing would ever arrive
    store_.collect(AsyncReader::Wait::kOne);
  }
}

void StoredExpertBytes::computed() { work_.advance(store_); }

}  // namespace hearth::runtime
