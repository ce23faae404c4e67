// kernels/gpu/device.h on CUDA and on HIP, whose functions differ in the first letters of their
// names (cuda_names.h, hip_names.h).
#ifdef HEARTH_HIP_SOURCE
#include "kernels/gpu/vendor/hip_names.h"
#else
#include "kernels/gpu/vendor/cuda_names.h"
#endif

#include <fmt/format.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "kernels/gpu/backend.h"
#include "kernels/gpu/vendor/open.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {
namespace {

using Status = GPU(Error_t);
constexpr Status kSuccess = GPU(Success);

// A failed call leaves its code behind for whoever asks next; taking it here keeps it from a launch
// that did nothing wrong.
const char* reason_of(Status status) {
  static_cast<void>(GPU(GetLastError)());
  return GPU(GetErrorString)(status);
}

void require(Status status, const char* what) {
  if (status != kSuccess)
    throw_error(ErrorCode::kDevice, "{}: {} failed: {}; see dmesg, or run without the GPU", kApi,
                what, reason_of(status));
}

// Whether there was memory for it; anything else that went wrong is fatal.
bool had_room(Status status, const char* what) {
  if (status == GPU(ErrorMemoryAllocation)) {
    static_cast<void>(GPU(GetLastError)());
    return false;
  }
  require(status, what);
  return true;
}

const StreamMemoryOperations& stream_memory_operations() {
  static const StreamMemoryOperations operations;
  return operations;
}

DeviceProperties properties_of(int ordinal) {
#ifdef HEARTH_HIP_SOURCE
  hipDeviceProp_t device{};
#else
  cudaDeviceProp device{};
#endif
  require(GPU(GetDeviceProperties)(&device, ordinal), "asking for the properties of a device");
  int version = 0;
  static_cast<void>(GPU(DriverGetVersion)(&version));
#ifdef HEARTH_HIP_SOURCE
  const std::string driver = fmt::format("HIP {}.{}", version / 10000000, version / 100000 % 100);
#else
  const std::string driver = fmt::format("CUDA {}.{}", version / 1000, version % 1000 / 10);
#endif
  return {.ordinal = ordinal,
          .name = device.name,
          .architecture = architecture_of(device),
          .driver = driver,
          .lanes = static_cast<unsigned>(device.warpSize),
          .multiprocessors = static_cast<unsigned>(device.multiProcessorCount),
          .memory = Bytes(device.totalGlobalMem),
          .l2 = Bytes(static_cast<std::uint64_t>(device.l2CacheSize)),
          .shared_memory_per_block = Bytes(device.sharedMemPerBlock),
          .maps_host_memory = device.canMapHostMemory != 0,
          .stream_memory_operations = stream_memory_operations().present(ordinal)};
}

class VendorEvent final : public Event {
 public:
  explicit VendorEvent(EventTiming timing) {
    const unsigned flags = timing == EventTiming::kTimed ? 0u : GPU(EventDisableTiming);
    require(GPU(EventCreateWithFlags)(&event_, flags), "creating an event");
  }
  ~VendorEvent() override { static_cast<void>(GPU(EventDestroy)(event_)); }
  VendorEvent(const VendorEvent&) = delete;
  VendorEvent& operator=(const VendorEvent&) = delete;

  bool reached() const override {
    const Status status = GPU(EventQuery)(event_);
    if (status == GPU(ErrorNotReady)) {
      static_cast<void>(GPU(GetLastError)());
      return false;
    }
    require(status, "work on the device");
    return true;
  }
  void wait() const override { require(GPU(EventSynchronize)(event_), "work on the device"); }
  Nanoseconds since(const Event& earlier) const override {
    float milliseconds = 0;
    require(GPU(EventElapsedTime)(&milliseconds, static_cast<const VendorEvent&>(earlier).event_,
                                  event_),
            "timing");
    return Nanoseconds(static_cast<std::int64_t>(static_cast<double>(milliseconds) * 1e6));
  }

  GPU(Event_t) native() const { return event_; }

 private:
  GPU(Event_t) event_ = nullptr;
};

class VendorGraph final : public Graph {
 public:
  explicit VendorGraph(GPU(Graph_t) graph) : graph_(graph) {
    require(GPU(GraphGetNodes)(graph_, nullptr, &nodes_), "counting the nodes of a graph");
    require(instantiate(&executable_, graph_), "building a graph");
  }
  ~VendorGraph() override {
    if (executable_ != nullptr) static_cast<void>(GPU(GraphExecDestroy)(executable_));
    static_cast<void>(GPU(GraphDestroy)(graph_));
  }
  VendorGraph(const VendorGraph&) = delete;
  VendorGraph& operator=(const VendorGraph&) = delete;

  std::size_t node_count() const override { return nodes_; }
  GPU(GraphExec_t) native() const { return executable_; }

 private:
  GPU(Graph_t) graph_;
  GPU(GraphExec_t) executable_ = nullptr;
  std::size_t nodes_ = 0;
};

class VendorDevice;

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

class VendorStream final : public Stream {
 public:
  VendorStream(VendorDevice& device, StreamPriority priority);
  ~VendorStream() override { static_cast<void>(GPU(StreamDestroy)(stream_)); }
  VendorStream(const VendorStream&) = delete;
  VendorStream& operator=(const VendorStream&) = delete;

  NativeStream native() const override { return stream_; }
  void copy(void* to, const void* from, Bytes bytes) override {
    require(GPU(MemcpyAsync)(to, from, bytes.count, GPU(MemcpyDefault), stream_), "a copy");
  }
  void fill(void* to, std::uint8_t byte, Bytes bytes) override {
    require(GPU(MemsetAsync)(to, byte, bytes.count, stream_), "filling memory");
  }
  void record(Event& event) override {
    require(GPU(EventRecord)(static_cast<VendorEvent&>(event).native(), stream_),
            "recording an event");
  }
  void wait(const Event& event) override {
    require(GPU(StreamWaitEvent)(stream_, static_cast<const VendorEvent&>(event).native(), 0),
            "waiting for an event");
  }
  void write_value(SharedFlag flag, std::uint32_t value) override;
  void wait_value(SharedFlag flag, std::uint32_t value) override;
  void call_host(void (*function)(void*), void* context) override {
    require(HEARTH_GPU_TARGET::call_host(stream_, function, context), "calling the host");
  }
  void synchronize() override { require(GPU(StreamSynchronize)(stream_), "work on the device"); }

  void begin_capture() override {
    require(GPU(StreamBeginCapture)(stream_, GPU(StreamCaptureModeThreadLocal)),
            "beginning a graph");
  }
  std::unique_ptr<Graph> end_capture() override;
  void launch(const Graph& graph) override {
    require(GPU(GraphLaunch)(static_cast<const VendorGraph&>(graph).native(), stream_),
            "launching a graph");
  }

 private:
  template <void (*function)(void*)>
  void call_for(SharedFlag flag, std::uint32_t value);

  VendorDevice& device_;
  GPU(Stream_t) stream_ = nullptr;
};

class VendorDevice final : public Device {
 public:
  explicit VendorDevice(int ordinal) {
    require(GPU(SetDevice)(ordinal), "opening the device");
    properties_ = properties_of(ordinal);
    look();
  }

  const DeviceProperties& properties() const override { return properties_; }
  DeviceMemory memory() const override { return look(); }
  Bytes peak() const override { return Bytes(peak_.load(std::memory_order_relaxed)); }

  std::unique_ptr<Stream> new_stream(StreamPriority priority) override {
    return std::make_unique<VendorStream>(*this, priority);
  }
  std::unique_ptr<Event> new_event(EventTiming timing) override {
    return std::make_unique<VendorEvent>(timing);
  }
  void synchronize() override { require(GPU(DeviceSynchronize)(), "work on the device"); }

  void* try_allocate(Bytes bytes) override {
    void* memory = nullptr;
    if (!had_room(GPU(Malloc)(&memory, bytes.count), "allocating memory")) return nullptr;
    look();
    return memory;
  }
  void* try_allocate_mapped(Bytes bytes) override {
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
    const unsigned flags = GPU(HostRegisterMapped) | GPU(HostRegisterPortable);
    if (GPU(HostRegister)(memory.data(), memory.size(), flags) != kSuccess) {
      static_cast<void>(GPU(GetLastError)());
      return false;
    }
    if (has_own_address(memory.data())) return true;
    unpin(memory.data());
    return false;
  }
  void free(void* memory) noexcept override { static_cast<void>(GPU(Free)(memory)); }
  void free_mapped(void* memory) noexcept override { static_cast<void>(free_host(memory)); }
  void unpin(std::byte* memory) noexcept override {
    static_cast<void>(GPU(HostUnregister)(memory));
  }

  FlagCall* keep(std::unique_ptr<FlagCall> call) {
    const std::lock_guard lock(calls_mutex_);
    return calls_.emplace_back(std::move(call)).get();
  }

  DeviceMemory look() const {
    std::size_t free = 0, total = 0;
    require(GPU(MemGetInfo)(&free, &total), "asking for free memory");
    const std::uint64_t used = total - free;
    std::uint64_t most = peak_.load(std::memory_order_relaxed);
    while (used > most && !peak_.compare_exchange_weak(most, used, std::memory_order_relaxed)) {
    }
    return {.free = Bytes(free), .total = Bytes(total)};
  }

 private:
  // Kernels use the addresses of the host.
  static bool has_own_address(void* memory) {
    void* mapped = nullptr;
    return GPU(HostGetDevicePointer)(&mapped, memory, 0) == kSuccess && mapped == memory;
  }

  DeviceProperties properties_;
  mutable std::atomic<std::uint64_t> peak_ = 0;
  std::mutex calls_mutex_;
  std::vector<std::unique_ptr<FlagCall>> calls_;
};

VendorStream::VendorStream(VendorDevice& device, StreamPriority priority) : device_(device) {
  int least = 0, greatest = 0;
  require(GPU(DeviceGetStreamPriorityRange)(&least, &greatest), "asking for priorities");
  require(GPU(StreamCreateWithPriority)(&stream_, GPU(StreamNonBlocking),
                                        priority == StreamPriority::kHigh ? greatest : least),
          "creating a stream");
}

void VendorStream::write_value(SharedFlag flag, std::uint32_t value) {
  if (!device_.properties().stream_memory_operations) return call_for<FlagCall::write>(flag, value);
  if (!stream_memory_operations().write_value(stream_, flag.address, value))
    throw_error(ErrorCode::kDevice, "{}: a stream refused to write a value; run without the GPU",
                kApi);
}

void VendorStream::wait_value(SharedFlag flag, std::uint32_t value) {
  if (!device_.properties().stream_memory_operations) return call_for<FlagCall::wait>(flag, value);
  if (!stream_memory_operations().wait_value(stream_, flag.address, value))
    throw_error(ErrorCode::kDevice, "{}: a stream refused to wait for a value; run without the GPU",
                kApi);
}

// What is captured is called by each launch, and stays as long as the device does.
template <void (*function)(void*)>
void VendorStream::call_for(SharedFlag flag, std::uint32_t value) {
  GPU(StreamCaptureStatus) status{};
  require(GPU(StreamIsCapturing)(stream_, &status), "asking whether a stream is captured");
  auto call = std::make_unique<FlagCall>(flag.address, value);
  if (status == GPU(StreamCaptureStatusNone)) {
    call_host(FlagCall::once<function>, call.get());
    call.release();
  } else {
    call_host(function, device_.keep(std::move(call)));
  }
}

std::unique_ptr<Graph> VendorStream::end_capture() {
  GPU(Graph_t) graph = nullptr;
  require(GPU(StreamEndCapture)(stream_, &graph), "capturing a graph");
  auto result = std::make_unique<VendorGraph>(graph);
  device_.look();
  return result;
}

}  // namespace

GpuDevices find_devices() {
  GpuDevices found;
  int count = 0;
  const Status status = GPU(GetDeviceCount)(&count);
  if (status != kSuccess || count == 0) {
    const bool no_driver = status == GPU(ErrorInsufficientDriver) || status == GPU(ErrorNoDevice);
    found.why_none = status == kSuccess ? "the driver shows no device"
                     : no_driver        ? kWithoutDriver
                                        : reason_of(status);
    static_cast<void>(GPU(GetLastError)());
    return found;
  }
  for (int i = 0; i < count; ++i) found.devices.push_back(properties_of(i));
  return found;
}

std::unique_ptr<Device> open_device(int ordinal) { return std::make_unique<VendorDevice>(ordinal); }

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
