#include "profiler/residency.h"

#include <utility>

#include "base/check.h"

namespace hearth::profiler {

Residency::Residency(Config config, std::unique_ptr<CachePolicy> policy)
    : config_(std::move(config)),
      policy_(std::move(policy)),
      experts_(config_.space.size()),
      classes_(config_.slots_of_class.size()),
      layer_counters_(config_.space.layers),
      resident_of_layer_(config_.space.layers) {
  CHECK(policy_ != nullptr);
  CHECK_EQ(config_.size_class_of.size(), experts_.size());
  CHECK_LE(classes_.size(), std::size_t{kNoClass});
  for (const std::uint8_t size_class : config_.size_class_of)
    CHECK(size_class == kNoClass || size_class < classes_.size());
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    classes_[i].slots = config_.slots_of_class[i];
    put_free(classes_[i], 0, classes_[i].slots);
  }
}

// The lowest slot on top.
void Residency::put_free(SizeClass& of, std::uint32_t begin, std::uint32_t end) {
  for (std::uint32_t slot = end; slot > begin; --slot) of.free.push_back(slot - 1);
}

void Residency::begin_step() { ++step_; }

void Residency::observe(const Routing& routing) {
  CHECK_EQ(routing.experts.size(), std::size_t{routing.rows} * routing.experts_per_row);
  policy_->on_routed(routing);
  ++decision_;
  for (const std::uint16_t index : routing.experts) observe(ExpertId{routing.layer, index});
}

void Residency::observe(ExpertId id) {
  Expert& routed = expert(id);
  CHECK_NE(config_.size_class_of[flat(id)], kNoClass);
  if (routed.observed_in == decision_) return;
  routed.observed_in = decision_;
  routed.used_in = step_;
  ResidencyCounters& layer = layer_counters_[id.layer];
  if (routed.state == ExpertState::kAbsent) {
    ++total_.misses, ++layer.misses;
    return;
  }
  ++total_.hits, ++layer.hits;
  if (routed.prefetched) ++total_.prefetches_used, ++layer.prefetches_used;
  routed.prefetched = false;
  policy_->on_hit(id);
}

ExpertState Residency::state(ExpertId id) const { return expert(id).state; }

std::optional<SlotId> Residency::slot(ExpertId id) const {
  const Expert& wanted = expert(id);
  if (wanted.state == ExpertState::kAbsent) return std::nullopt;
  return SlotId{config_.size_class_of[flat(id)], wanted.slot};
}

std::optional<SlotId> Residency::begin_fill(ExpertId id, FillReason reason) {
  const std::uint8_t size_class = config_.size_class_of[flat(id)];
  CHECK_NE(size_class, kNoClass);
  Expert& filled = expert(id);
  CHECK(filled.state == ExpertState::kAbsent);

  std::vector<std::uint32_t>& free = classes_[size_class].free;
  if (free.empty() && !evict_for(size_class, reason)) return std::nullopt;
  filled.slot = free.back();
  free.pop_back();
  filled.state = ExpertState::kFilling;
  filled.prefetched = reason == FillReason::kPrefetch;
  if (filled.prefetched) ++total_.prefetches, ++layer_counters_[id.layer].prefetches;
  // What is fetched for a use in this step is live, also before that use.
  if (reason != FillReason::kSeed) filled.used_in = step_;
  policy_->on_insert(id);
  return SlotId{size_class, filled.slot};
}

// Puts one slot of the class on its free list, if a ready expert may go for this reason.
bool Residency::evict_for(std::uint8_t size_class, FillReason reason) {
  SizeClass& wanted = classes_[size_class];
  const bool spare_live = reason == FillReason::kPrefetch;
  if (spare_live && wanted.exhausted_in == step_) return false;
  const auto may_evict = [&](ExpertId id) {
    const Expert& candidate = expert(id);
    return candidate.state == ExpertState::kReady && candidate.leases == 0 &&
           !(spare_live && live(candidate));
  };
  const std::optional<ExpertId> victim = policy_->choose_victim(size_class, may_evict);
  if (!victim) {
    if (spare_live) wanted.exhausted_in = step_;
    return false;
  }
  CHECK(may_evict(*victim));
  CHECK_EQ(config_.size_class_of[flat(*victim)], size_class);
  ++total_.evictions, ++layer_counters_[victim->layer].evictions;
  vacate(*victim);
  return true;
}

void Residency::evict_all() {
  for (std::uint32_t i = 0; i < experts_.size(); ++i)
    if (experts_[i].state == ExpertState::kReady && experts_[i].leases == 0)
      vacate(config_.space.id(i));
}

void Residency::set_slots(std::uint8_t size_class, std::uint32_t slots,
                          FunctionRef<void(SlotId from, SlotId to)> move) {
  CHECK_LT(size_class, classes_.size());
  CHECK_LE(slots, config_.slots_of_class[size_class]);
  SizeClass& changed = classes_[size_class];
  const auto is_ready = [&](ExpertId id) {
    const Expert& one = expert(id);
    return one.state == ExpertState::kReady && one.leases == 0;
  };
  while (changed.slots - changed.free.size() > slots) {
    const std::optional<ExpertId> victim = policy_->choose_victim(size_class, is_ready);
    CHECK(victim.has_value());
    vacate(*victim);
  }
  std::erase_if(changed.free, [&](std::uint32_t slot) { return slot >= slots; });
  for (std::uint32_t i = 0; i < experts_.size(); ++i) {
    Expert& moved = experts_[i];
    if (config_.size_class_of[i] != size_class || moved.state == ExpertState::kAbsent) continue;
    if (moved.slot < slots) continue;
    CHECK(is_ready(config_.space.id(i)));
    const std::uint32_t to = changed.free.back();
    changed.free.pop_back();
    move({size_class, moved.slot}, {size_class, to});
    moved.slot = to;
  }
  if (slots > changed.slots) put_free(changed, changed.slots, slots);
  changed.slots = slots;
  changed.exhausted_in = 0;
  policy_->on_slots(size_class, slots);
}

void Residency::vacate(ExpertId id) {
  Expert& leaving = expert(id);
  CHECK_EQ(leaving.leases, 0u);
  if (leaving.state == ExpertState::kReady) --resident_of_layer_[id.layer];
  classes_[config_.size_class_of[flat(id)]].free.push_back(leaving.slot);
  leaving.state = ExpertState::kAbsent;
  leaving.prefetched = false;
  policy_->on_evict(id);
}

void Residency::fill_done(ExpertId id) {
  CHECK(expert(id).state == ExpertState::kFilling);
  expert(id).state = ExpertState::kReady;
  ++resident_of_layer_[id.layer];
  may_have_become_evictable(id);
}

void Residency::fill_failed(ExpertId id) {
  CHECK(expert(id).state == ExpertState::kFilling);
  vacate(id);
}

void Residency::lease(ExpertId id) {
  CHECK(expert(id).state != ExpertState::kAbsent);
  ++expert(id).leases;
}

void Residency::release(ExpertId id) {
  CHECK_GT(expert(id).leases, 0u);
  --expert(id).leases;
  may_have_become_evictable(id);
}

// Within a step, experts only become live; so an exhausted class stays so until an expert that is
// not live loses its last lease or gets ready.
void Residency::may_have_become_evictable(ExpertId id) {
  if (!live(expert(id))) classes_[config_.size_class_of[flat(id)]].exhausted_in = 0;
}

std::uint32_t Residency::leases(ExpertId id) const { return expert(id).leases; }

const ResidencyCounters& Residency::counters() const { return total_; }

const ResidencyCounters& Residency::counters(LayerIndex layer) const {
  CHECK_LT(layer, layer_counters_.size());
  return layer_counters_[layer];
}

std::uint32_t Residency::slots(std::uint8_t size_class) const {
  CHECK_LT(size_class, classes_.size());
  return classes_[size_class].slots;
}

std::uint32_t Residency::free_slots(std::uint8_t size_class) const {
  CHECK_LT(size_class, classes_.size());
  return static_cast<std::uint32_t>(classes_[size_class].free.size());
}

std::uint32_t Residency::resident(LayerIndex layer) const {
  CHECK_LT(layer, resident_of_layer_.size());
  return resident_of_layer_[layer];
}

std::uint32_t Residency::flat(ExpertId id) const {
  CHECK(config_.space.contains(id));
  return config_.space.flat(id);
}

}  // namespace hearth::profiler
