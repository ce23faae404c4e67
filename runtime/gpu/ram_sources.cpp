#include "runtime/gpu/ram_sources.h"

#include <algorithm>
#include <utility>

namespace hearth::runtime {

using profiler::ExpertState;

namespace {

// A gather reads whole words of this size around a part.
constexpr std::uint64_t kGatherWord = 16;

}  // namespace

RamSources::RamSources(Engine& engine, ExpertArena& arena, kernels::Device& device)
    : engine_(engine),
      arena_(arena),
      device_(device),
      space_(engine.model().experts.space()),
      leased_(engine.needs().classes.size()),
      place_(space_.size(), spare_.end()) {}

void RamSources::take() {
  if (!std::exchange(taken_, true)) begin();
  arena_.send_sources();
}

void RamSources::begin() {
  pin();
  most_.clear();
  std::uint32_t all = 0;
  const std::vector<std::uint32_t> held = held_of_class();
  for (std::uint8_t c = 0; c < leased_.size(); ++c) {
    const std::uint32_t slots = engine_.experts().residency().slots(c);
    const bool holds_all = slots + held[c] >= engine_.needs().classes[c].experts;
    most_.push_back(holds_all ? slots : slots - std::min(slots, engine_.config().experts_used));
    all += most_.back();
  }
  spare_.resize(all);
  for (std::uint32_t flat = 0; flat < space_.size(); ++flat) {
    const ExpertId id = space_.id(flat);
    if (engine_.model().experts.has(id)) used(id);
  }
}

// Classes in RAM need not be those of the device.
std::vector<std::uint32_t> RamSources::held_of_class() const {
  std::vector<std::uint32_t> held(leased_.size());
  for (std::uint32_t flat = 0; flat < space_.size(); ++flat) {
    const ExpertId id = space_.id(flat);
    if (arena_.holds(id)) held[engine_.needs().class_of_layer[id.layer]] += 1;
  }
  return held;
}

// Pages are pinned whoever may write to them; the device only reads.
void RamSources::pin() {
  const std::span<const std::byte> memory = engine_.experts().memory();
  if (!device_.properties().maps_host_memory || !memory_.pinned().empty() || memory.empty()) return;
  memory_ =
      kernels::PinnedMemory::pin(device_, {const_cast<std::byte*>(memory.data()), memory.size()});
}

void RamSources::used(LayerIndex layer, std::span<const std::uint16_t> experts) {
  for (const std::uint16_t expert : experts) used({layer, expert});
}

void RamSources::used(ExpertId id) {
  const std::uint8_t size_class = engine_.needs().class_of_layer[id.layer];
  Leases& leased = leased_[size_class];
  const Leases::iterator place = place_[space_.flat(id)];
  if (place != spare_.end()) {
    leased.splice(leased.end(), leased, place);
    return;
  }
  if (engine_.experts().state(id) != ExpertState::kReady || most_[size_class] == 0) return;
  if (arena_.holds(id)) return;
  ExpertLease lease = engine_.experts().lease(id);
  const kernels::ExpertSource source = source_of(lease);
  if (source.parts[0] == nullptr) return;
  if (leased.size() == most_[size_class]) drop_oldest(leased);
  spare_.front() = std::move(lease);
  place_[space_.flat(id)] = spare_.begin();
  leased.splice(leased.end(), spare_, spare_.begin());
  arena_.set_source(id, source);
}

// No parts where the device does not see all of them.
kernels::ExpertSource RamSources::source_of(const ExpertLease& lease) const {
  const LayerExperts& layer = engine_.model().experts.layer(lease.id().layer);
  kernels::ExpertSource source;
  for (std::uint32_t part = 0; part < kernels::kExpertParts; ++part) {
    source.parts[part] = lease.part(part);
    if (!device_reads(lease.part(part), layer.part(lease.id().index, part).bytes)) return {};
  }
  return source;
}

void RamSources::drop_oldest(Leases& leased) {
  const ExpertId id = leased.front().id();
  leased.front().reset();
  place_[space_.flat(id)] = spare_.end();
  spare_.splice(spare_.begin(), leased, leased.begin());
  arena_.set_source(id, {});
}

bool RamSources::device_reads(const std::byte* part, std::uint64_t bytes) const {
  const std::span<std::byte> memory = memory_.pinned();
  if (part < memory.data()) return false;
  const auto begin = static_cast<std::uint64_t>(part - memory.data());
  return round_up(begin + bytes, kGatherWord) <= memory.size();
}

void RamSources::release() {
  for (Leases& leased : leased_)
    while (!leased.empty()) drop_oldest(leased);
  taken_ = false;
}

void RamSources::unpin() {
  release();
  memory_ = {};
}

std::uint32_t RamSources::leased() const {
  std::uint32_t count = 0;
  for (const Leases& leased : leased_) count += static_cast<std::uint32_t>(leased.size());
  return count;
}

}  // namespace hearth::runtime
