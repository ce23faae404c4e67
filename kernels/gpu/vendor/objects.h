// kernels/gpu/device.h on CUDA and on HIP.
#pragma once

#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/gpu/device.h"
#include "kernels/gpu/launch_queue.h"
#include "kernels/gpu/pinned_ranges.h"
#include "kernels/gpu/vendor/calls.h"
#include "kernels/gpu/watchdog.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

// Those of the driver.
inline const StreamMemoryOperations& stream_memory_operations() {
  static const StreamMemoryOperations operations;
  return operations;
}

class VendorEvent final : public Event {
 public:
  VendorEvent(EventTiming timing, CallCounter& calls, Watchdog& watchdog)
      : calls_(calls), watchdog_(watchdog) {
    const unsigned flags = timing == EventTiming::kTimed ? 0u : GPU(EventDisableTiming);
    require(GPU(EventCreateWithFlags)(&event_, flags), "creating an event");
  }
  ~VendorEvent() override {
    if (!watchdog_.abandoned()) ignore(GPU(EventDestroy)(event_));
  }
  VendorEvent(const VendorEvent&) = delete;
  VendorEvent& operator=(const VendorEvent&) = delete;

  bool reached() const override { return is_done(GPU(EventQuery)(event_)); }
  void wait() const override {
    calls_.waited();
    watchdog_.wait([this] { return reached(); });
  }
  Nanoseconds since(const Event& earlier) const override {
    float milliseconds = 0;
    require(GPU(EventElapsedTime)(&milliseconds, static_cast<const VendorEvent&>(earlier).event_,
                                  event_),
            "timing");
    return Nanoseconds(static_cast<std::int64_t>(static_cast<double>(milliseconds) * 1e6));
  }

  GPU(Event_t) native() const { return event_; }

 private:
  CallCounter& calls_;
  Watchdog& watchdog_;
  GPU(Event_t) event_ = nullptr;
};

class VendorGraph final : public Graph {
 public:
  VendorGraph(GPU(Graph_t) graph, const Watchdog& watchdog) : watchdog_(watchdog), graph_(graph) {
    require(GPU(GraphGetNodes)(graph_, nullptr, &nodes_), "counting the nodes of a graph");
  }
  // What it takes of the device is taken here, not by its first launch, as far as drivers can.
  bool try_build(GPU(Stream_t) stream) {
    return had_room(instantiate(&executable_, graph_), "building a graph") &&
           had_room(upload(executable_, stream), "building a graph");
  }
  ~VendorGraph() override {
    if (watchdog_.abandoned()) return;
    if (executable_ != nullptr) ignore(GPU(GraphExecDestroy)(executable_));
    ignore(GPU(GraphDestroy)(graph_));
  }
  VendorGraph(const VendorGraph&) = delete;
  VendorGraph& operator=(const VendorGraph&) = delete;

  std::size_t node_count() const override { return nodes_; }
  GPU(GraphExec_t) native() const { return executable_; }
  bool first_launch() const { return !std::exchange(launched_, true); }

 private:
  const Watchdog& watchdog_;
  GPU(Graph_t) graph_;
  GPU(GraphExec_t) executable_ = nullptr;
  std::size_t nodes_ = 0;
  mutable bool launched_ = false;
};

// What stands in for a stream memory operation where the driver has none.
struct FlagCall {
  std::uint32_t* address;
  std::uint32_t value;

  static void write(void* context) {
    const auto& call = *static_cast<FlagCall*>(context);
    std::atomic_ref(*call.address).store(call.value, std::memory_order_release);
  }
  static void wait(void* context) {
    const auto& call = *static_cast<FlagCall*>(context);
    const auto reached = [&] {
      const std::uint32_t now = std::atomic_ref(*call.address).load(std::memory_order_acquire);
      return static_cast<std::int32_t>(now - call.value) >= 0;
    };
    while (!reached()) std::this_thread::yield();
  }
  template <void (*function)(void*)>
  static void once(void* context) {
    const std::unique_ptr<FlagCall> call(static_cast<FlagCall*>(context));
    function(context);
  }
};

class VendorDevice;

class VendorStream final : public Stream, public LaunchQueue {
 public:
  VendorStream(VendorDevice& device, StreamPriority priority);
  ~VendorStream() override;
  VendorStream(const VendorStream&) = delete;
  VendorStream& operator=(const VendorStream&) = delete;

  NativeStream native() const override {
    return const_cast<LaunchQueue*>(static_cast<const LaunchQueue*>(this));
  }
  void* stream() override { return here(); }
  bool begins_early() const override;
  void launched() override;
  void copy(void* to, const void* from, Bytes bytes) override;
  void fill(void* to, std::uint8_t byte, Bytes bytes) override;
  void record(Event& event) override {
    require(GPU(EventRecord)(static_cast<VendorEvent&>(event).native(), behind_all()),
            "recording an event");
  }
  void mark(Event& event) override;
  void wait(const Event& event) override {
    require(GPU(StreamWaitEvent)(behind_all(), static_cast<const VendorEvent&>(event).native(), 0),
            "waiting for an event");
  }
  void write_value(SharedFlag flag, std::uint32_t value) override;
  void wait_value(SharedFlag flag, std::uint32_t value) override;
  void call_host(void (*function)(void*), void* context) override {
    require(HEARTH_GPU_TARGET::call_host(behind_all(), function, context), "calling the host");
  }
  void synchronize() override;

  void begin_capture() override;
  std::unique_ptr<Graph> end_capture() override;
  void drop_capture() noexcept override;
  GPU(Graph_t) try_end_capture() noexcept;
  void launch(const Graph& graph) override;

 private:
  void counted(std::uint64_t nodes);
  GPU(Stream_t) here() const;  // with its device the current one
  GPU(Stream_t) behind_all();  // likewise, for what is no kernel
  bool is_captured() const;
  template <void (*function)(void*)>
  void call_for(SharedFlag flag, std::uint32_t value);

  VendorDevice& device_;
  GPU(Stream_t) stream_ = nullptr;
  std::uint64_t operations_ = 0;
  bool behind_kernel_ = false;  // what was enqueued last is a kernel
  Bytes used_before_capture_;
};

class VendorDevice final : public Device {
 public:
  explicit VendorDevice(int ordinal);

  const DeviceProperties& properties() const override { return properties_; }
  DeviceMemory memory() const override {
    turn_to();
    std::size_t free = 0, total = 0;
    require(GPU(MemGetInfo)(&free, &total), "asking for free memory");
    return {.free = Bytes(free), .total = Bytes(total)};
  }
  Bytes used() const {
    const DeviceMemory now = memory();
    return now.total - now.free;
  }
  MemoryMeter& meter() { return meter_; }
  DeviceUse use() const override { return meter_.use(); }
  Bytes peak() const override { return meter_.peak(); }
  DeviceCalls calls() const override { return calls_made_.calls(); }
  CallCounter& count() { return calls_made_; }

  std::unique_ptr<Stream> new_stream(StreamPriority priority) override {
    turn_to();
    const Bytes before = used();
    auto stream = std::make_unique<VendorStream>(*this, priority);
    meter_.changed(before, used());
    return stream;
  }
  std::unique_ptr<Event> new_event(EventTiming timing) override {
    turn_to();
    return std::make_unique<VendorEvent>(timing, calls_made_, watchdog_);
  }
  void synchronize() override {
    turn_to();
    calls_made_.waited();
    const std::lock_guard lock(streams_mutex_);
    for (const GPU(Stream_t) stream : streams_)
      watchdog_.wait([stream] { return is_done(GPU(StreamQuery)(stream)); });
  }
  void opened(GPU(Stream_t) stream) {
    const std::lock_guard lock(streams_mutex_);
    streams_.insert(stream);
  }
  void closed(GPU(Stream_t) stream) {
    const std::lock_guard lock(streams_mutex_);
    streams_.erase(stream);
  }

  void* try_allocate(Bytes bytes) override {
    turn_to();
    void* memory = nullptr;
    const Bytes before = used();
    if (!had_room(GPU(Malloc)(&memory, bytes.count), "allocating memory")) return nullptr;
    meter_.allocated(memory, bytes);
    meter_.changed(before, used());
    return memory;
  }
  void* try_allocate_mapped(Bytes bytes) override {
    turn_to();
    void* memory = nullptr;
    if (!had_room(allocate_host(&memory, bytes.count), "allocating pinned memory")) return nullptr;
    if (!has_own_address(memory)) {
      free_mapped(memory);
      return nullptr;
    }
    std::memset(memory, 0, bytes.count);
    return memory;
  }
  // Also where the system limits locked memory, of which drivers report several errors.
  bool try_pin(std::span<std::byte> memory) override {
    turn_to();
    const unsigned flags = GPU(HostRegisterMapped) | GPU(HostRegisterPortable);
    if (GPU(HostRegister)(memory.data(), memory.size(), flags) != kSuccess) {
      static_cast<void>(GPU(GetLastError)());
      return false;
    }
    if (!has_own_address(memory.data())) {
      ignore(GPU(HostUnregister)(memory.data()));
      return false;
    }
    pinned_.add(memory.data(), memory.size());
    return true;
  }
  // From whatever thread: what is asked here is asked of this device.
  void free(void* memory) noexcept override {
    if (watchdog_.abandoned()) return;
    make_current();
    std::size_t before = 0, after = 0, total = 0;
    const bool known = GPU(MemGetInfo)(&before, &total) == kSuccess;
    ignore(GPU(Free)(memory));
    meter_.freed(memory);
    if (known && GPU(MemGetInfo)(&after, &total) == kSuccess)
      meter_.changed(Bytes(total - before), Bytes(total - after));
  }
  void free_mapped(void* memory) noexcept override {
    if (!watchdog_.abandoned()) ignore(free_host(memory));
  }
  void unpin(std::byte* memory) noexcept override {
    pinned_.remove(memory);
    if (!watchdog_.abandoned()) ignore(GPU(HostUnregister)(memory));
  }
  void abandon() noexcept override { watchdog_.abandon(); }
  Watchdog& watchdog() { return watchdog_; }
  const PinnedRanges& pinned() const { return pinned_; }

  void make_current() noexcept override { ignore(GPU(SetDevice)(properties_.ordinal)); }

  // Each thread of the host has a device of its own that calls are for, the first of the machine
  // until it says otherwise; a launch for a stream of another one is refused.
  void turn_to() const { require(GPU(SetDevice)(properties_.ordinal), "turning to the device"); }

  FlagCall* keep(std::unique_ptr<FlagCall> call) {
    const std::lock_guard lock(calls_mutex_);
    return calls_.emplace_back(std::move(call)).get();
  }

 private:
  // Kernels use the addresses of the host.
  static bool has_own_address(void* memory) {
    void* mapped = nullptr;
    const Status status = GPU(HostGetDevicePointer)(&mapped, memory, 0);
    ignore(status);
    return status == kSuccess && mapped == memory;
  }
  bool captures_memory_operations();
  bool captures_early_launches();
  bool finishes(GPU(Graph_t) graph, GPU(Stream_t) stream);

  DeviceProperties properties_;
  CallCounter calls_made_;
  Watchdog watchdog_{*this};
  std::mutex streams_mutex_;
  std::set<GPU(Stream_t)> streams_;
  MemoryMeter meter_;
  PinnedRanges pinned_;
  std::mutex calls_mutex_;
  std::vector<std::unique_ptr<FlagCall>> calls_;
};

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
