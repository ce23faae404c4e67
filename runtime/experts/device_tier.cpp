#include "runtime/experts/device_tier.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "io/read_window.h"

namespace hearth::runtime {

using profiler::ExpertState;
using profiler::FillReason;

DeviceTier::DeviceTier(Device& device, const ExpertCatalog& catalog, ExpertStore& ram,
                       const Options& options, const Clock& clock)
    : device_(device),
      catalog_(catalog),
      ram_(ram),
      clock_(clock),
      space_(catalog.space()),
      classes_(size_classes(catalog, kAlignment)),
      events_(device),
      residency_(make_residency(catalog, classes_, options.policy, options.slots_of_class, {})),
      copied_in_(space_.size()),
      copy_error_(space_.size()) {
  std::uint32_t slots = 0;
  for (const std::uint32_t of_class : options.slots_of_class) {
    first_reader_.push_back(slots);
    slots += of_class;
  }
  readers_.resize(slots);
  class_memory_.resize(options.slots_of_class.size());
  const Bytes total = slot_memory_of(classes_, options.slots_of_class);
  memory_ = device_.allocate(total);
  if (memory_ == nullptr)
    throw_error(ErrorCode::kBudget,
                "the device refused {} bytes for experts; give it a smaller budget", total.count);
  std::byte* next = memory_;
  for (std::size_t c = 0; c < class_memory_.size(); ++c) {
    class_memory_[c] = next;
    next += classes_.slot_bytes[c] * options.slots_of_class[c];
  }
}

DeviceTier::~DeviceTier() {
  try {
    if (!batches_.empty()) events_.synchronize(batches_.back().event);
    for (const auto& readers : readers_)
      for (const DeviceEvents::Ref& read : readers) events_.synchronize(read);
  } catch (const Error&) {  // lost: there is nothing to wait for
  }
  device_.free(memory_);
}

std::byte* DeviceTier::slot_memory(profiler::SlotId slot) const {
  return class_memory_[slot.size_class] + slot.index * classes_.slot_bytes[slot.size_class];
}

std::vector<DeviceEvents::Ref>& DeviceTier::readers_of(profiler::SlotId slot) {
  return readers_[first_reader_[slot.size_class] + slot.index];
}

std::uint64_t DeviceTier::slot_bytes(ExpertId id) const {
  return classes_.slot_bytes[residency_->slot(id)->size_class];
}

const std::byte* DeviceTier::part(ExpertId id, std::uint32_t index) const {
  const std::byte* memory = slot_memory(*residency_->slot(id));
  for (std::uint32_t i = 0; i < index; ++i)
    memory += io::window_capacity(catalog_.layer(id.layer).part(id.index, i).bytes, kAlignment);
  return memory;
}

bool DeviceTier::begin_fill(ExpertId id, FillReason reason) {
  if (!residency_->begin_fill(id, reason)) return false;
  fills_.push_back({id, reason, {}});
  return true;
}

DeviceTier::Fill* DeviceTier::fill_of(ExpertId id) {
  const auto fill = std::ranges::find(fills_, id, &Fill::id);
  return fill == fills_.end() ? nullptr : &*fill;
}

// What was a guess is now waited for.
void DeviceTier::lease(ExpertId id) {
  residency_->lease(id);
  if (Fill* const fill = fill_of(id)) fill->reason = FillReason::kDemand;
}

void DeviceTier::release(ExpertId id, const DeviceEvents::Ref& read) {
  residency_->release(id);
  if (enqueued(id)) {
    if (read.held()) remember_reader(*residency_->slot(id), read);
    return;
  }
  if (residency_->leases(id) > 0) return;
  Fill* const fill = fill_of(id);
  if (copy_error_[flat(id)] != 0 || (fill != nullptr && fill->ram.held() && ram_.failed(id)))
    give_up(id);
}

// Those that are done need not be remembered, but asking costs.
void DeviceTier::remember_reader(profiler::SlotId slot, const DeviceEvents::Ref& read) {
  constexpr std::size_t kFew = 4;
  std::vector<DeviceEvents::Ref>& readers = readers_of(slot);
  if (readers.size() >= kFew)
    std::erase_if(readers, [&](const DeviceEvents::Ref& ref) { return events_.reached(ref); });
  readers.push_back(read);
}

// Absent again.
void DeviceTier::give_up(ExpertId id) {
  copy_error_[flat(id)] = 0;
  if (Fill* const fill = fill_of(id)) fills_.erase(fills_.begin() + (fill - fills_.data()));
  residency_->fill_failed(id);
}

void DeviceTier::advance() {
  events_.throw_if_lost();
  take_note_of_copies();
  ram_.take_note(io::AsyncReader::Wait::kNow);
  start_reads(FillReason::kDemand);
  start_reads(FillReason::kSeed);
  start_reads(FillReason::kPrefetch);
  copy_what_arrived();
}

void DeviceTier::take_note_of_copies() {
  while (!batches_.empty() && events_.reached(batches_.front().event)) {
    done_ = batches_.front().number;
    batches_.erase(batches_.begin());
  }
  std::erase_if(copies_, [&](const Copy& copy) { return copy.batch <= done_; });
}

void DeviceTier::start_reads(FillReason reason) {
  for (std::size_t i = 0; i < fills_.size();) {
    Fill& fill = fills_[i];
    if (fill.ram.held() || fill.reason != reason || start_read(fill) ||
        reason != FillReason::kPrefetch)
      ++i;
    else
      give_up(ExpertId(fill.id));  // nobody waits for a guess that has no room in RAM
  }
}

// False where RAM has no room now.
bool DeviceTier::start_read(Fill& fill) {
  if (ram_.state(fill.id) == ExpertState::kAbsent &&
      ram_.fetch(fill.id, fill.reason) != FetchResult::kStarted)
    return false;
  fill.ram = ram_.lease(fill.id);
  return true;
}

void DeviceTier::copy_what_arrived() {
  DeviceEvents::Ref copied;  // taken before the first copy: it must not be refused after one
  for (std::size_t i = 0; i < fills_.size();) {
    Fill& fill = fills_[i];
    const ExpertId id = fill.id;
    if (fill.ram.held() && fill.ram.ready()) {
      if (!copied.held()) copied = events_.take();
      enqueue_copy(fill);  // which ends the fill
    } else if (fill.ram.held() && ram_.failed(id) && residency_->leases(id) == 0) {
      give_up(id);
    } else {
      ++i;
    }
  }
  if (!copied.held()) return;
  events_.record(copied, device_.copy_stream());
  batches_.push_back({next_batch_, std::move(copied)});
  next_batch_ += 1;
}

// Also what a failed copy began may still be under way.
void DeviceTier::enqueue_copy(Fill& fill) {
  const ExpertId id = fill.id;
  const int error = copy_parts(id);
  copies_.push_back({std::move(fill.ram), next_batch_});
  fills_.erase(fills_.begin() + (&fill - fills_.data()));
  if (error == 0) {
    copied_in_[flat(id)] = next_batch_;
    bytes_copied_ += Bytes(catalog_.layer(id.layer).bytes(id.index));
    residency_->fill_done(id);
    return;
  }
  copy_error_[flat(id)] = error;
  if (residency_->leases(id) == 0) give_up(id);
}

int DeviceTier::copy_parts(ExpertId id) {
  std::vector<DeviceEvents::Ref>& readers = readers_of(*residency_->slot(id));
  for (const DeviceEvents::Ref& read : readers)
    if (!events_.reached(read)) events_.make_wait(device_.copy_stream(), read);
  readers.clear();
  std::byte* to = slot_memory(*residency_->slot(id));
  const LayerExperts& layer = catalog_.layer(id.layer);
  const Fill& fill = *fill_of(id);
  for (std::uint32_t i = 0; i < layer.parts(id.index); ++i) {
    const Bytes size(layer.part(id.index, i).bytes);
    if (const int error = device_.copy(to, fill.ram.part(i), size)) return error;
    to += io::window_capacity(size.count, kAlignment);
  }
  return 0;
}

void DeviceTier::throw_if_failed(ExpertId id) {
  if (const int error = copy_error_[flat(id)])
    throw_error(ErrorCode::kIo,
                "the device failed to copy expert {} of layer {} (code {}); acquire it again",
                id.index, id.layer, error);
  if (const Fill* const fill = fill_of(id); fill != nullptr && fill->ram.held())
    ram_.throw_if_failed(id);
}

void DeviceTier::wait_for_more() {
  const Nanoseconds start = clock_.now();
  if (ram_.reading())
    ram_.take_note(io::AsyncReader::Wait::kOne);
  else if (!batches_.empty())
    events_.synchronize(batches_.front().event);
  else
    throw_error(ErrorCode::kBudget,
                "no slot in RAM is free for what the device wants; release leases that failed");
  time_waited_ += clock_.now() - start;
}

void DeviceTier::settle() {
  advance();
  while (filling() || !batches_.empty()) {
    wait_for_more();
    advance();
  }
}

DeviceEvents::Ref DeviceTier::event_of(std::span<const ExpertId> experts) const {
  std::uint64_t last = 0;
  for (const ExpertId id : experts) last = std::max(last, copied_in_[flat(id)]);
  if (last <= done_) return {};
  return std::ranges::find(batches_, last, &Batch::number)->event;
}

void DeviceTier::set_slots(std::span<const std::uint32_t> slots_of_class) {
  CHECK(!filling());
  residency_->evict_all();  // what would have to move is read again: there is no such copy
  for (std::uint8_t c = 0; c < slots_of_class.size(); ++c)
    residency_->set_slots(c, slots_of_class[c], [](profiler::SlotId, profiler::SlotId) {});
}

}  // namespace hearth::runtime
