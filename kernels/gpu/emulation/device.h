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
#include <set>
#include <thread>

#include "kernels/gpu/device.h"
#include "kernels/gpu/emulation/schedule.h"
#include "kernels/gpu/watchdog.h"

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
  // What its driver takes beside buffers: when the device is opened, with the first graph, for the
  // kernels in it, and for each graph as long as there is one.
  Bytes context, kernels, graph;
  Bytes driver_growth;  // DeviceProperties
  Bytes unusable;       // free, but in pieces that no buffer fits into
  // As with a driver, a thread that has not made the device current is an error.
  bool current_in_threads = false;
  // Faults. The allocation of that number, from 1 on, finds no memory; 0: none. Of the device, and
  // of mapped memory.
  std::uint64_t failing_allocation = 0;
  std::uint64_t failing_mapped = 0;
  // After so many operations (a copy, a kernel, a flag …) the device is lost: the next one throws
  // Error(kDevice) where it is done, and all later ones where they are enqueued; 0: never.
  std::uint64_t last_operation = 0;
  // After so many it hangs: it does nothing more and says nothing. Who waits for it does so until
  // nothing has gone on for the silence.
  std::uint64_t hangs_after = ~std::uint64_t{0};
  Nanoseconds silence = kDeviceSilence;
};

class EmulatedDevice final : public Device {
 public:
  explicit EmulatedDevice(const DeviceOptions& options);
  ~EmulatedDevice() override;

  const DeviceProperties& properties() const override { return properties_; }
  DeviceMemory memory() const override;
  DeviceUse use() const override;
  Bytes peak() const override;
  DeviceCalls calls() const override { return calls_.calls(); }
  std::unique_ptr<Stream> new_stream(StreamPriority priority) override;
  std::unique_ptr<Event> new_event(EventTiming timing) override;
  void synchronize() override;
  void abandon() noexcept override { watchdog_.abandon(); }
  void make_current() noexcept override;

  void* try_allocate(Bytes bytes) override;
  void* try_allocate_mapped(Bytes bytes) override;
  bool try_pin(std::span<std::byte> memory) override;
  void free(void* memory) noexcept override;
  void free_mapped(void* memory) noexcept override;
  void unpin(std::byte* memory) noexcept override;

  // Memory that other programs use from now on.
  void set_others(Bytes bytes);
  // After so many more operations it hangs.
  void hang_after(std::uint64_t operations) { hangs_after_ = operations_ + operations; }
  // Of a captured graph; false: there is none. With what its driver took for it.
  bool try_take_graph();
  void give_graph_back();

  // Counts an operation; false: the device hangs. Throws where it is lost.
  bool operate(const char* name);
  void throw_if_lost() const;
  // The host waits until this is done.
  void wait_for(const Pending& pending);
  CallCounter& count() { return calls_; }
  Watchdog& watchdog() { return watchdog_; }
  std::uint64_t operations() const { return operations_; }
  // The host waits for what was enqueued.
  void host_waits() { ++waits_; }
  std::uint64_t waits() const { return waits_; }
  std::uint64_t allocations() const { return allocations_asked_; }
  std::uint64_t mapped_allocations() const { return mapped_asked_; }
  Schedule* schedule() { return schedule_.get(); }  // null: at once
  // What drivers refuse while a thread captures: to take memory or to wait, and copies of host
  // memory that is not pinned.
  void begin_capture();
  void end_capture();
  void check_captures_nothing() const;
  bool sees(const void* memory, Bytes bytes) const;

 private:
  Bytes free_memory() const;
  void check_current() const;

  DeviceOptions options_;
  DeviceProperties properties_;
  CallCounter calls_;
  mutable std::mutex mutex_;
  std::map<const void*, Bytes> allocations_, mapped_;
  std::map<std::byte*, std::size_t> pinned_;
  std::set<std::thread::id> current_in_;
  std::multiset<std::thread::id> captures_in_;
  Bytes used_, driver_, others_, peak_, pinned_bytes_;
  bool has_kernels_ = false;
  std::uint64_t hangs_after_;
  std::atomic<bool> hangs_ = false;
  std::uint64_t allocations_asked_ = 0, mapped_asked_ = 0;
  std::atomic<std::uint64_t> streams_ = 0, operations_ = 0, waits_ = 0;
  std::unique_ptr<Schedule> schedule_;
  Watchdog watchdog_;
};

}  // namespace hearth::kernels::emulated
