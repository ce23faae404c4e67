#include "kernels/gpu/emulation/device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/error.h"
#include "kernels/gpu/emulation/stream.h"

namespace hearth::kernels::emulated {
namespace {

constexpr std::size_t kAlignment = 256;

void* allocate_host(std::size_t bytes) {
  void* memory = nullptr;
  return posix_memalign(&memory, kAlignment, bytes) == 0 ? memory : nullptr;
}

}  // namespace

EmulatedDevice::EmulatedDevice(const DeviceOptions& options)
    : options_(options), hangs_after_(options.hangs_after), watchdog_(*this, options.silence) {
  properties_.name = "emulated";
  properties_.architecture = "host";
  properties_.driver = "none";
  properties_.lanes = options.lanes;
  properties_.multiprocessors = 1;
  properties_.memory = options.memory;
  properties_.l2 = 64 * kKiB;
  properties_.driver_growth = options.driver_growth;
  properties_.maps_host_memory = true;
  properties_.stream_memory_operations = true;
  properties_.prefetches = true;
  properties_.marks_graphs = true;
  driver_ = peak_ = options.context;
  if (options.streams == Streams::kScheduled)
    schedule_ = std::make_unique<Schedule>(options.seed, options.beside,
                                           [this](const char* name) { return operate(name); });
  make_current();
}

EmulatedDevice::~EmulatedDevice() {
  CHECK(allocations_.empty());  // owners do not outlive their device
  CHECK(mapped_.empty());
  CHECK(pinned_.empty());
}

DeviceMemory EmulatedDevice::memory() const {
  const std::lock_guard lock(mutex_);
  return {.free = free_memory(), .total = options_.memory};
}

Bytes EmulatedDevice::free_memory() const {
  const Bytes used = used_ + driver_ + others_;
  return used < options_.memory ? options_.memory - used : Bytes(0);
}

void EmulatedDevice::set_others(Bytes bytes) {
  const std::lock_guard lock(mutex_);
  others_ = bytes;
}

bool EmulatedDevice::try_take_graph() {
  const std::lock_guard lock(mutex_);
  const Bytes wanted = options_.graph + (has_kernels_ ? Bytes(0) : options_.kernels);
  if (wanted > free_memory()) return false;
  has_kernels_ = true;
  driver_ += wanted;
  peak_ = std::max(peak_, used_ + driver_);
  return true;
}

void EmulatedDevice::give_graph_back() {
  const std::lock_guard lock(mutex_);
  driver_ -= options_.graph;
}

DeviceUse EmulatedDevice::use() const {
  const std::lock_guard lock(mutex_);
  return {.allocated = used_, .driver = driver_};
}

Bytes EmulatedDevice::peak() const {
  const std::lock_guard lock(mutex_);
  return peak_;
}

std::unique_ptr<Stream> EmulatedDevice::new_stream(StreamPriority) {
  const std::uint64_t number = streams_++;
  return std::make_unique<EmulatedStream>(*this, options_.lanes, options_.seed + (number << 32),
                                          static_cast<std::uint32_t>(number));
}

std::unique_ptr<Event> EmulatedDevice::new_event(EventTiming) {
  return std::make_unique<EmulatedEvent>(*this);
}

void EmulatedDevice::synchronize() {
  host_waits();
  check_captures_nothing();
  calls_.waited();
  throw_if_lost();
  watchdog_.wait([this] {
    if (schedule_ == nullptr) return !hangs_;
    schedule_->finish_all();
    return schedule_->idle();
  });
}

void EmulatedDevice::wait_for(const Pending& pending) {
  watchdog_.wait([&] {
    if (schedule_ != nullptr) schedule_->finish(pending);
    return is_done(pending);
  });
}

void* EmulatedDevice::try_allocate(Bytes bytes) {
  check_current();
  check_captures_nothing();
  const std::lock_guard lock(mutex_);
  if (++allocations_asked_ == options_.failing_allocation) return nullptr;
  if (bytes + options_.unusable > free_memory()) return nullptr;
  void* memory = allocate_host(bytes.count);
  if (memory == nullptr) return nullptr;
  std::memset(memory, 0xff, bytes.count);
  allocations_[memory] = bytes;
  used_ += bytes;
  peak_ = std::max(peak_, used_ + driver_);
  return memory;
}

// Freeing waits for the device, as it does on a real one.
void EmulatedDevice::free(void* memory) noexcept {
  if (schedule_ != nullptr) schedule_->abandon();
  const std::lock_guard lock(mutex_);
  const auto found = allocations_.find(memory);
  CHECK(found != allocations_.end());
  used_ -= found->second;
  allocations_.erase(found);
  std::free(memory);
}

void* EmulatedDevice::try_allocate_mapped(Bytes bytes) {
  check_captures_nothing();
  const std::lock_guard lock(mutex_);
  if (++mapped_asked_ == options_.failing_mapped) return nullptr;
  void* memory = allocate_host(bytes.count);
  if (memory == nullptr) return nullptr;
  std::memset(memory, 0, bytes.count);
  mapped_[memory] = bytes;
  return memory;
}

void EmulatedDevice::free_mapped(void* memory) noexcept {
  if (schedule_ != nullptr) schedule_->abandon();
  const std::lock_guard lock(mutex_);
  CHECK_EQ(mapped_.erase(memory), 1u);
  std::free(memory);
}

bool EmulatedDevice::try_pin(std::span<std::byte> memory) {
  check_captures_nothing();
  const std::lock_guard lock(mutex_);
  if (pinned_bytes_ + Bytes(memory.size()) > options_.pinnable) return false;
  CHECK(pinned_.emplace(memory.data(), memory.size()).second);
  pinned_bytes_ += Bytes(memory.size());
  return true;
}

void EmulatedDevice::unpin(std::byte* memory) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = pinned_.find(memory);
  CHECK(found != pinned_.end());
  pinned_bytes_ -= Bytes(found->second);
  pinned_.erase(found);
}

void EmulatedDevice::begin_capture() {
  const std::lock_guard lock(mutex_);
  captures_in_.insert(std::this_thread::get_id());
}

void EmulatedDevice::end_capture() {
  const std::lock_guard lock(mutex_);
  const auto found = captures_in_.find(std::this_thread::get_id());
  CHECK(found != captures_in_.end());
  captures_in_.erase(found);
}

void EmulatedDevice::check_captures_nothing() const {
  const std::lock_guard lock(mutex_);
  CHECK(!captures_in_.contains(std::this_thread::get_id()));
}

bool EmulatedDevice::sees(const void* memory, Bytes bytes) const {
  const std::lock_guard lock(mutex_);
  const auto* const begin = static_cast<const std::byte*>(memory);
  const auto within = [&](const auto& ranges) {
    return std::ranges::any_of(ranges, [&](const auto& range) {
      const auto* const first = static_cast<const std::byte*>(range.first);
      return begin >= first && begin + bytes.count <= first + Bytes(range.second).count;
    });
  };
  return within(allocations_) || within(mapped_) || within(pinned_);
}

void EmulatedDevice::make_current() noexcept {
  const std::lock_guard lock(mutex_);
  current_in_.insert(std::this_thread::get_id());
}

void EmulatedDevice::check_current() const {
  if (!options_.current_in_threads) return;
  const std::lock_guard lock(mutex_);
  if (!current_in_.contains(std::this_thread::get_id()))
    throw_error(ErrorCode::kDevice, "emulated device: not the current one of this thread");
}

bool EmulatedDevice::operate(const char* name) {
  check_current();
  if (operations_ >= hangs_after_) hangs_ = true;
  if (hangs_) return false;
  const std::uint64_t number = ++operations_;
  if (options_.last_operation != 0 && number > options_.last_operation)
    throw_error(ErrorCode::kDevice, "emulated device: lost at operation {}, a {}", number, name);
  return true;
}

void EmulatedDevice::throw_if_lost() const {
  if (options_.last_operation != 0 && operations_ > options_.last_operation)
    throw_error(ErrorCode::kDevice, "emulated device: lost");
}

}  // namespace hearth::kernels::emulated
