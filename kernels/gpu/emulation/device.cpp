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

EmulatedDevice::EmulatedDevice(const DeviceOptions& options) : options_(options) {
  properties_.name = "emulated";
  properties_.architecture = "host";
  properties_.driver = "none";
  properties_.lanes = options.lanes;
  properties_.multiprocessors = 1;
  properties_.memory = options.memory;
  properties_.shared_memory_per_block = 48 * kKiB;
  properties_.maps_host_memory = true;
  properties_.stream_memory_operations = true;
  if (options.streams == Streams::kScheduled)
    schedule_ = std::make_unique<Schedule>(options.seed, options.beside,
                                           [this](const char* name) { operate(name); });
}

EmulatedDevice::~EmulatedDevice() {
  CHECK(allocations_.empty());  // owners do not outlive their device
  CHECK(pinned_.empty());
}

DeviceMemory EmulatedDevice::memory() const {
  const std::lock_guard lock(mutex_);
  return {.free = Bytes(options_.memory.count - used_.count), .total = options_.memory};
}

Bytes EmulatedDevice::peak() const {
  const std::lock_guard lock(mutex_);
  return peak_;
}

std::unique_ptr<Stream> EmulatedDevice::new_stream(StreamPriority) {
  return std::make_unique<EmulatedStream>(*this, options_.lanes,
                                          options_.seed + (streams_++ << 32));
}

std::unique_ptr<Event> EmulatedDevice::new_event(EventTiming) {
  return std::make_unique<EmulatedEvent>(*this);
}

void EmulatedDevice::synchronize() {
  throw_if_lost();
  if (schedule_ != nullptr) schedule_->finish_all();
}

void* EmulatedDevice::try_allocate(Bytes bytes) {
  const std::lock_guard lock(mutex_);
  if (++allocations_asked_ == options_.failing_allocation) return nullptr;
  if (bytes.count > options_.memory.count - used_.count) return nullptr;
  void* memory = allocate_host(bytes.count);
  if (memory == nullptr) return nullptr;
  std::memset(memory, 0xff, bytes.count);
  allocations_[memory] = bytes;
  used_ += bytes;
  peak_ = std::max(peak_, used_);
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
  const std::lock_guard lock(mutex_);
  if (++mapped_asked_ == options_.failing_mapped) return nullptr;
  void* memory = allocate_host(bytes.count);
  if (memory == nullptr) return nullptr;
  std::memset(memory, 0, bytes.count);
  allocations_[memory] = Bytes(0);
  return memory;
}

void EmulatedDevice::free_mapped(void* memory) noexcept { free(memory); }

bool EmulatedDevice::try_pin(std::span<std::byte> memory) {
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

void EmulatedDevice::operate(const char* name) {
  const std::uint64_t number = ++operations_;
  if (options_.last_operation != 0 && number > options_.last_operation)
    throw_error(ErrorCode::kDevice, "emulated device: lost at operation {}, a {}", number, name);
}

void EmulatedDevice::throw_if_lost() const {
  if (options_.last_operation != 0 && operations_ > options_.last_operation)
    throw_error(ErrorCode::kDevice, "emulated device: lost");
}

}  // namespace hearth::kernels::emulated
