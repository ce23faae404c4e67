// A device in host memory, for tests: kernels run in the emulation (block_runner.h), at once and in
// the order in which they are enqueued; or later, in any order that streams and events allow
// (schedule.h), so that what is not ordered is found out.
//
// Each allocation is one of the heap, so that an address sanitizer sees its ends, and is filled
// with ones: floats that nobody wrote are NaN.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "kernels/gpu/device.h"
#include "kernels/gpu/emulation/schedule.h"

namespace hearth::kernels::emulated {

enum class Streams : std::uint8_t {
  kAtOnce,     // an operation is done when it is enqueued
  kScheduled,  // some time later, when the host waits; a single thread uses the device
};

struct DeviceOptions {
  unsigned lanes = 32;
  std::uint64_t seed = 0;  // of the order of threads, and of operations
  Streams streams = Streams::kAtOnce;
  std::function<bool()> beside = nullptr;  // Schedule
  Bytes memory = 4 * kGiB;
  Bytes pinnable = 1024 * kGiB;  // a limit of the system on locked memory
  // Faults. The allocation of that number, from 1 on, finds no memory; 0: none. Of the device, and
  // of mapped memory.
  std::uint64_t failing_allocation = 0;
  std::uint64_t failing_mapped = 0;
  // After so many operations (a copy, a kernel, a flag …) the device is lost: the next one throws
  // Error(kDevice) where it is done, and all later ones where they are enqueued; 0: never.
  std::uint64_t last_operation = 0;
};

class EmulatedDevice final : public Device {
 public:
  explicit EmulatedDevice(const DeviceOptions& options);
  ~EmulatedDevice() override;

  const DeviceProperties& properties() const override { return properties_; }
  DeviceMemory memory() const override;
  Bytes peak() const override;
  std::unique_ptr<Stream> new_stream(StreamPriority priority) override;
  std::unique_ptr<Event> new_event(EventTiming timing) override;
  void synchronize() override;

  void* try_allocate(Bytes bytes) override;
  void* try_allocate_mapped(Bytes bytes) override;
  bool try_pin(std::span<std::byte> memory) override;
  void free(void* memory) noexcept override;
  void free_mapped(void* memory) noexcept override;
  void unpin(std::byte* memory) noexcept override;

  // Counts an operation; throws where the device is lost.
  void operate(const char* name);
  void throw_if_lost() const;
  std::uint64_t operations() const { return operations_; }
  std::uint64_t allocations() const { return allocations_asked_; }
  std::uint64_t mapped_allocations() const { return mapped_asked_; }
  Schedule* schedule() { return schedule_.get(); }  // null: at once

 private:
  DeviceOptions options_;
  DeviceProperties properties_;
  mutable std::mutex mutex_;
  std::map<void*, Bytes> allocations_;  // mapped ones, too, which use nothing of the device
  std::map<std::byte*, std::size_t> pinned_;
  Bytes used_, peak_, pinned_bytes_;
  std::uint64_t allocations_asked_ = 0, mapped_asked_ = 0;
  std::atomic<std::uint64_t> streams_ = 0, operations_ = 0;
  std::unique_ptr<Schedule> schedule_;
};

}  // namespace hearth::kernels::emulated
