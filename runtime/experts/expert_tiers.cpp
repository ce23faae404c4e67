#include "runtime/experts/expert_tiers.h"

#include <algorithm>
#include <functional>
#include <ranges>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "profiler/slot_plan.h"

namespace hearth::runtime {

using io::AsyncReader;
using profiler::ExpertState;
using profiler::FillReason;

namespace {

constexpr std::size_t kHostAlignment = 4096;  // at least that of direct reads

std::vector<profiler::SlotClass> slot_classes(const SizeClasses& classes) {
  std::vector<profiler::SlotClass> result;
  for (std::size_t c = 0; c < classes.slot_bytes.size(); ++c)
    result.push_back({.slot = Bytes(classes.slot_bytes[c]), .experts = classes.experts[c]});
  return result;
}

}  // namespace

ExpertTiers::ExpertTiers(std::vector<std::string> paths, ExpertCatalog catalog, Options options,
                         const Clock& clock)
    : ExpertTiers(paths, std::move(catalog), options, AsyncReader::open(paths, options.reader),
                  clock) {}

ExpertTiers::ExpertTiers(std::vector<std::string> paths, ExpertCatalog catalog, Options options,
                         std::unique_ptr<AsyncReader> reader, const Clock& clock)
    : paths_(std::move(paths)),
      catalog_(std::move(catalog)),
      options_(std::move(options)),
      clock_(clock),
      reader_(std::move(reader)),
      ram_classes_(size_classes(catalog_, reader_->alignment())),
      place_of_(catalog_.space().experts_per_layer),
      listed_in_(catalog_.space().experts_per_layer),
      uses_(catalog_.space().size()) {
  const std::vector<std::uint32_t> slots = slots_for(Tier::kRam, options_.ram);
  try {
    ram_ = std::make_unique<ExpertStore>(
        paths_, catalog_, *reader_,
        ExpertStore::Options{.policy = options_.policy,
                             .slots_of_class = slots,
                             .max_reads = options_.reader.max_queued,
                             .memory = host_memory(slot_memory_of(ram_classes_, slots))},
        clock_);
    if (options_.device != nullptr)
      device_ = std::make_unique<DeviceTier>(
          *options_.device, catalog_, *ram_,
          DeviceTier::Options{.policy = options_.policy,
                              .slots_of_class = slots_for(Tier::kDevice, options_.device_memory)},
          clock_);
  } catch (...) {
    ram_.reset();
    if (lent_memory_ != nullptr) options_.device->free_host(lent_memory_);
    throw;
  }
  reader_description_ = reader_->description();
}

ExpertTiers::~ExpertTiers() {
  leases_.clear();
  device_.reset();
  ram_.reset();  // waits for reads into the memory
  if (lent_memory_ != nullptr) options_.device->free_host(lent_memory_);
}

// Empty where the store is to take its own.
std::span<std::byte> ExpertTiers::host_memory(Bytes size) {
  if (options_.device == nullptr || !options_.device->lends_host_memory()) return {};
  lent_memory_ = options_.device->allocate_host(size);
  if (lent_memory_ == nullptr)
    throw_error(ErrorCode::kBudget,
                "the device refused {} bytes of host memory; give a smaller budget of RAM",
                size.count);
  if (reinterpret_cast<std::uintptr_t>(lent_memory_) % kHostAlignment != 0)
    throw_error(ErrorCode::kUsage, "alloc_host gave memory that is not aligned to {} bytes",
                kHostAlignment);
  return {lent_memory_, size.count};
}

const SizeClasses& ExpertTiers::classes(Tier tier) const {
  return tier == Tier::kRam ? ram_classes_ : device_->classes();
}

const profiler::Residency& ExpertTiers::residency(Tier tier) const {
  return tier == Tier::kRam ? ram_->residency() : device_->residency();
}

// Leases are of the last tier; what is only on its way through RAM can go one by one.
std::uint32_t ExpertTiers::fewest_slots(Tier tier) const {
  return tier == Tier::kDevice || options_.device == nullptr ? options_.at_once : 1;
}

TierNeeds ExpertTiers::needs(Tier tier) const {
  const SizeClasses& own = classes(tier);
  return {.least = profiler::plan_slots(slot_classes(own), Bytes(0), fewest_slots(tier)).needed,
          .full = slot_memory_of(own, own.experts)};
}

std::vector<std::uint32_t> ExpertTiers::slots_for(Tier tier, Bytes budget) const {
  const SizeClasses own =
      tier == Tier::kRam ? ram_classes_ : size_classes(catalog_, DeviceTier::kAlignment);
  const profiler::SlotPlan plan =
      profiler::plan_slots(slot_classes(own), budget, fewest_slots(tier));
  if (plan.slots.empty())
    throw_error(
        ErrorCode::kBudget,
        "a budget of {} bytes {} is less than the {} that {} expert(s) at once need; give more",
        budget.count, tier == Tier::kRam ? "of RAM" : "on the device", plan.needed.count,
        fewest_slots(tier));
  return plan.slots;
}

// A layer that does not come after the last one belongs to the next step.
void ExpertTiers::observe(const profiler::Routing& routing) {
  if (last_layer_ && routing.layer <= *last_layer_) {
    ram_->begin_step();
    if (has_device()) device_->begin_step();
  }
  last_layer_ = routing.layer;
  for (const std::uint16_t expert : routing.experts)
    ++uses_[catalog_.space().flat({routing.layer, expert})];
  if (!has_device()) return ram_->observe(routing);
  not_on_device_.clear();
  for (const std::uint16_t expert : routing.experts)
    if (device_->residency().state({routing.layer, expert}) == ExpertState::kAbsent)
      not_on_device_.push_back(expert);
  device_->observe(routing);
  if (not_on_device_.empty()) return;
  ram_->observe({.layer = routing.layer,
                 .rows = 1,
                 .experts_per_row = static_cast<std::uint32_t>(not_on_device_.size()),
                 .experts = not_on_device_});
}

void ExpertTiers::hint(std::span<const ExpertId> likeliest_first, Nanoseconds from_now) {
  const Nanoseconds now = clock_.now();
  const Nanoseconds deadline =
      from_now < Nanoseconds::max() - now ? now + from_now : Nanoseconds::max();
  for (const ExpertId id : likeliest_first)
    if (!hints_.add({id, deadline})) ++hints_dropped_;
  poll();
}

void ExpertTiers::poll() {
  take_note();
  start_hints();
}

void ExpertTiers::start_hints() {
  const auto under_way = [&] {
    return std::max(ram_->experts_on_their_way(), has_device() ? device_->under_way() : 0);
  };
  while (under_way() < kGuessesUnderWay) {
    const std::optional<Hint> next = hints_.take(clock_.now());
    if (!next) return;
    if (!start_hint(next->id)) ++hints_dropped_;
  }
}

// True also where there is nothing to do.
bool ExpertTiers::start_hint(ExpertId id) {
  if (has_device()) {
    if (device_->residency().state(id) != ExpertState::kAbsent) return true;
    if (device_->begin_fill(id, FillReason::kPrefetch)) {
      device_->advance();
      return true;
    }
  }
  return ram_->state(id) != ExpertState::kAbsent ||
         ram_->fetch(id, FillReason::kPrefetch) == FetchResult::kStarted;
}

ExpertTiers::Lease& ExpertTiers::free_lease() {
  const auto free = std::ranges::find_if(leases_, [](const auto& lease) { return !lease->held(); });
  if (free != leases_.end()) return **free;
  leases_.emplace_back(new Lease(*this));
  return *leases_.back();
}

void ExpertTiers::list_distinct(Lease& lease, std::span<const ExpertId> experts) {
  lease.experts_.clear(), lease.places_.clear(), lease.ram_.clear();
  ++listing_;
  for (const ExpertId id : experts) {
    CHECK(catalog_.has(id));
    if (std::exchange(listed_in_[id.index], listing_) != listing_) {
      place_of_[id.index] = static_cast<std::uint32_t>(lease.experts_.size());
      lease.experts_.push_back(id);
    }
    lease.places_.push_back(place_of_[id.index]);
  }
  lease.ram_.resize(has_device() ? 0 : lease.experts_.size());
  lease.pinned_.assign(lease.experts_.size(), false);
}

ExpertTiers::Lease& ExpertTiers::acquire(std::span<const ExpertId> experts) {
  Lease& lease = free_lease();
  list_distinct(lease, experts);
  try {
    if (has_device()) lease.read_ = device_->events().take();
    pin(lease);
    if (has_device()) device_->advance();
  } catch (...) {
    let_go(lease, {});
    throw;
  }
  lease.held_ = true;
  lease.waited_ = false;
  ++held_;
  return lease;
}

// What is there first, so that it does not make room for the others.
void ExpertTiers::pin(Lease& lease) {
  const profiler::Residency& from = residency(has_device() ? Tier::kDevice : Tier::kRam);
  for (std::uint32_t i = 0; i < lease.experts_.size(); ++i)
    if (from.state(lease.experts_[i]) != ExpertState::kAbsent) pin(lease, i);
  for (std::uint32_t i = 0; i < lease.experts_.size(); ++i)
    if (!lease.pinned_[i]) pin(lease, i);
}

void ExpertTiers::pin(Lease& lease, std::uint32_t index) {
  const ExpertId id = lease.experts_[index];
  if (has_device()) {
    while (device_->residency().state(id) == ExpertState::kAbsent &&
           !device_->begin_fill(id, FillReason::kDemand))
      wait_for_slot(id);
    device_->lease(id);
  } else {
    while (ram_->state(id) == ExpertState::kAbsent &&
           ram_->fetch(id, FillReason::kDemand) != FetchResult::kStarted)
      wait_for_slot(id);
    lease.ram_[index] = ram_->lease(id);
  }
  lease.pinned_[index] = true;
}

// What a guess is being read into can be had when that is there.
void ExpertTiers::wait_for_slot(ExpertId id) {
  if (has_device() ? !device_->filling() : !ram_->reading())
    throw_error(ErrorCode::kBudget,
                "no slot for expert {} of layer {} is free of leases; acquire fewer experts at a "
                "time, or give a larger budget",
                id.index, id.layer);
  if (has_device()) {
    device_->wait_for_more();
    device_->advance();
  } else {
    ram_->take_note(AsyncReader::Wait::kOne);
  }
}

void ExpertTiers::let_go(Lease& lease, const DeviceEvents::Ref& read) {
  for (std::uint32_t i = 0; i < lease.experts_.size(); ++i) {
    if (!lease.pinned_[i]) continue;
    if (has_device())
      device_->release(lease.experts_[i], read);
    else
      lease.ram_[i].reset();
  }
  lease.event_.reset();
  lease.read_.reset();
  lease.experts_.clear();
}

void ExpertTiers::release(Lease& lease, Device::Stream stream) {
  CHECK(lease.held_);
  lease.held_ = false;
  --held_;
  DeviceEvents::Ref read = std::exchange(lease.read_, {});
  try {
    if (has_device() && device_->events().lost()) read.reset();
    if (read.held()) device_->events().record(read, stream);
  } catch (...) {
    let_go(lease, {});
    throw;
  }
  let_go(lease, read);
}

void ExpertTiers::throw_if_failed(ExpertId id) {
  if (has_device())
    device_->throw_if_failed(id);
  else
    ram_->throw_if_failed(id);
}

void ExpertTiers::take_note() {
  if (has_device())
    device_->advance();
  else
    ram_->take_note(AsyncReader::Wait::kNow);
}

bool ExpertTiers::in_place(const Lease& lease, std::uint32_t place) const {
  return has_device() ? device_->enqueued(lease.experts_[place]) : lease.ram_[place].ready();
}

void ExpertTiers::wait(Lease& lease) {
  take_note();
  for (std::uint32_t i = 0; i < lease.experts_.size();) {
    throw_if_failed(lease.experts_[i]);
    if (in_place(lease, i)) {
      ++i;
    } else if (has_device()) {
      device_->wait_for_more();
      device_->advance();
    } else {
      CHECK(ram_->reading());
      ram_->take_note(AsyncReader::Wait::kOne);
    }
  }
  if (has_device()) lease.event_ = device_->event_of(lease.experts_);
  lease.waited_ = true;
  start_hints();
}

bool ExpertTiers::ready(Lease& lease, std::size_t index) {
  take_note();
  const std::uint32_t place = lease.places_[index];
  throw_if_failed(lease.experts_[place]);
  return has_device() ? device_->arrived(lease.experts_[place]) : in_place(lease, place);
}

bool ExpertTiers::readable(const Lease& lease, std::size_t index) const {
  const std::uint32_t place = lease.places_[index];
  if (!has_device() || lease.waited_) return in_place(lease, place);
  return device_->arrived(lease.experts_[place]);
}

ExpertPlace ExpertTiers::place(const Lease& lease, std::size_t index) const {
  CHECK(readable(lease, index));
  const std::uint32_t place = lease.places_[index];
  const ExpertId id = lease.experts_[place];
  const LayerExperts& layer = catalog_.layer(id.layer);
  const profiler::SlotId slot = *residency(has_device() ? Tier::kDevice : Tier::kRam).slot(id);
  ExpertPlace found{
      .slot = slot.index,
      .slot_bytes = classes(has_device() ? Tier::kDevice : Tier::kRam).slot_bytes[slot.size_class],
      .parts = layer.parts(id.index)};
  for (std::uint32_t i = 0; i < found.parts; ++i) {
    found.part[i] = has_device() ? device_->part(id, i) : lease.ram_[place].part(i);
    found.bytes[i] = layer.part(id.index, i).bytes;
  }
  return found;
}

void ExpertTiers::set_budget(Tier tier, Bytes budget) {
  CHECK_EQ(held_, 0u);
  std::vector<std::uint32_t> slots = slots_for(tier, budget);
  const Bytes most = tier == Tier::kRam ? options_.ram : options_.device_memory;
  if (budget > most)
    throw_error(ErrorCode::kBudget,
                "a budget of {} bytes is more than the {} that the store was opened with",
                budget.count, most.count);
  const std::vector<std::uint32_t> opened = slots_for(tier, most);
  for (std::size_t c = 0; c < slots.size(); ++c) slots[c] = std::min(slots[c], opened[c]);
  if (has_device()) device_->settle();
  if (tier == Tier::kDevice)
    device_->set_slots(slots);
  else
    ram_->set_slots(slots);
}

Residence ExpertTiers::residence() const {
  const auto experts_in = [&](Tier tier) {
    std::vector<ExpertId> experts;
    for (std::uint32_t flat = 0; flat < uses_.size(); ++flat)
      if (const ExpertId id = catalog_.space().id(flat);
          catalog_.has(id) && residency(tier).state(id) == ExpertState::kReady)
        experts.push_back(id);
    std::ranges::stable_sort(experts, std::greater(),
                             [&](ExpertId id) { return uses_[catalog_.space().flat(id)]; });
    return experts;
  };
  return {experts_in(Tier::kRam),
          has_device() ? experts_in(Tier::kDevice) : std::vector<ExpertId>()};
}

std::uint64_t ExpertTiers::take_residence(const Residence& wanted) {
  const std::vector<ExpertId> ram = absent_that_fit(Tier::kRam, wanted.ram);
  ram_->seed(ram, [](Bytes) {});
  if (!has_device()) return ram.size();
  const std::vector<ExpertId> device = absent_that_fit(Tier::kDevice, wanted.device);
  seed_device(device);
  return ram.size() + device.size();
}

std::vector<ExpertId> ExpertTiers::absent_that_fit(Tier tier,
                                                   std::span<const ExpertId> experts) const {
  const profiler::Residency& own = residency(tier);
  std::vector<std::uint32_t> free;
  for (std::uint8_t c = 0; c < classes(tier).slot_bytes.size(); ++c)
    free.push_back(own.free_slots(c));
  std::vector<ExpertId> fitting;
  for (const ExpertId id : experts) {
    if (own.state(id) != ExpertState::kAbsent) continue;
    std::uint32_t& left = free[classes(tier).class_of_layer[id.layer]];
    if (left == 0) continue;
    --left;
    fitting.push_back(id);
  }
  return fitting;
}

// The most wanted last, so that it is the most recent. The leases keep failures from being given up
// silently.
void ExpertTiers::seed_device(std::span<const ExpertId> most_wanted_first) {
  for (const ExpertId id : std::views::reverse(most_wanted_first)) {
    CHECK(device_->begin_fill(id, FillReason::kSeed));
    device_->lease(id);
  }
  const auto release_all = [&] {
    for (const ExpertId id : most_wanted_first) device_->release(id, {});
  };
  try {
    device_->advance();
    for (std::size_t i = 0; i < most_wanted_first.size();) {
      device_->throw_if_failed(most_wanted_first[i]);
      if (device_->enqueued(most_wanted_first[i])) {
        ++i;
        continue;
      }
      device_->wait_for_more();
      device_->advance();
    }
  } catch (...) {
    release_all();
    throw;
  }
  release_all();
}

ExpertTiers::Counters ExpertTiers::counters(Tier tier, std::optional<LayerIndex> layer) const {
  const profiler::Residency& own = residency(tier);
  Counters found;
  const ExpertSpace space = catalog_.space();
  for (std::uint32_t flat = 0; flat < space.size(); ++flat) {
    const ExpertId id = space.id(flat);
    if (layer && id.layer != *layer) continue;
    found.leased += own.leases(id) > 0;
    found.resident += own.state(id) == ExpertState::kReady;
  }
  found.routed = layer ? own.counters(*layer) : own.counters();
  if (layer) return found;
  for (std::uint8_t c = 0; c < classes(tier).slot_bytes.size(); ++c) {
    found.slots += own.slots(c);
    found.memory += own.slots(c) * Bytes(classes(tier).slot_bytes[c]);
  }
  if (tier == Tier::kDevice) {
    found.moved = device_->bytes_copied();
    found.waited = device_->time_waited();
    return found;
  }
  found.hints_late = hints_.late();
  found.hints_dropped = hints_dropped_;
  found.moved = ram_->expert_bytes_read();
  found.waited = ram_->time_waited();
  return found;
}

}  // namespace hearth::runtime
