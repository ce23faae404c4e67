// kernels/gpu/device.h on CUDA and on HIP, whose functions differ in the first letters of their
// names (cuda_names.h, hip_names.h).
#ifdef HEARTH_HIP_SOURCE
#include "kernels/gpu/vendor/hip_names.h"
#else
#include "kernels/gpu/vendor/cuda_names.h"
#endif

#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>
#include <thread>
#include <utility>

#include "base/error.h"
#include "kernels/gpu/backend.h"
#include "kernels/gpu/launch_queue.h"
#include "kernels/gpu/pinned_ranges.h"
#include "kernels/gpu/read_memory.h"
#include "kernels/gpu/vendor/open.h"
#include "kernels/gpu/watchdog.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

void launch_read_memory(const ReadMemoryTask& task, NativeStream stream);

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

// Where nothing can be done about an error. Its code is taken all the same: launches would find it.
void ignore(Status status) {
  if (status != kSuccess) static_cast<void>(GPU(GetLastError)());
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

// What a stream or an event says of the work before it.
bool is_done(Status status) {
  if (status == GPU(ErrorNotReady)) {
    static_cast<void>(GPU(GetLastError)());
    return false;
  }
  require(status, "work on the device");
  return true;
}

const StreamMemoryOperations& stream_memory_operations() {
  static const StreamMemoryOperations operations;
  return operations;
}

constexpr std::string_view kCompiledFor = HEARTH_GPU_COMPILED_FOR;

// Not measured yet on any card: 5 MB of kernels, where they are not there from the start, and
// graphs of some thousand nodes.
constexpr Bytes kDriverGrowth = 160 * kMiB;

#ifdef HEARTH_HIP_SOURCE
using NativeProperties = hipDeviceProp_t;
#else
using NativeProperties = cudaDeviceProp;
#endif

// HEARTH_GPU_OVERLAP=off: each kernel begins when the one before it has ended.
bool may_begin_early() {
  const char* const wanted = std::getenv("HEARTH_GPU_OVERLAP");
  if (wanted == nullptr) return true;
  if (std::string_view(wanted) != "off")
    throw_error(ErrorCode::kUsage, "HEARTH_GPU_OVERLAP={}: unknown; use off, or unset it", wanted);
  return false;
}

NativeProperties native_properties(int ordinal) {
  NativeProperties device{};
  require(GPU(GetDeviceProperties)(&device, ordinal), "asking for the properties of a device");
  return device;
}

DeviceProperties properties_of(int ordinal) {
  const NativeProperties device = native_properties(ordinal);
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
          .driver_growth = kDriverGrowth,
          .maps_host_memory = device.canMapHostMemory != 0,
          .stream_memory_operations = stream_memory_operations().present(ordinal),
          .begins_early = may_begin_early() && begins_early(device, version),
          .marks_graphs = kMarksGraphs};
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
  void launched(std::uint64_t nodes);
  GPU(Stream_t) here() const;   // with its device the current one
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
  explicit VendorDevice(int ordinal) {
    const std::optional<Bytes> used_before = used_memory_without_context(ordinal);
    require(GPU(SetDevice)(ordinal), "opening the device");
    properties_ = properties_of(ordinal);
    properties_.stream_memory_operations =
        properties_.stream_memory_operations && captures_memory_operations();
    properties_.begins_early = properties_.begins_early && captures_early_launches();
    const std::optional<Bytes> used_after = used_memory_without_context(ordinal);
    if (used_before && used_after)
      meter_.changed(*used_before, *used_after);
    else
      meter_.changed(Bytes(0), used());  // all that is in use, from above
  }

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

VendorStream::VendorStream(VendorDevice& device, StreamPriority priority) : device_(device) {
  int least = 0, greatest = 0;
  require(GPU(DeviceGetStreamPriorityRange)(&least, &greatest), "asking for priorities");
  require(GPU(StreamCreateWithPriority)(&stream_, GPU(StreamNonBlocking),
                                        priority == StreamPriority::kHigh ? greatest : least),
          "creating a stream");
  device_.opened(stream_);
}

VendorStream::~VendorStream() {
  device_.closed(stream_);
  if (!device_.watchdog().abandoned()) ignore(GPU(StreamDestroy)(stream_));
}

void VendorStream::launched() {
  launched(1);
  behind_kernel_ = true;
}

// What drivers promise is order behind a kernel of the same stream. Not where an event is between
// the two, although they would: what another stream launches then is to find room on the device
// before the kernel that needs not hurry.
bool VendorStream::begins_early() const {
  return behind_kernel_ && device_.properties().begins_early;
}

void VendorStream::launched(std::uint64_t nodes) {
  if (device_.count().launched(nodes)) device_.watchdog().enqueued(*this, operations_);
}

GPU(Stream_t) VendorStream::here() const {
  device_.turn_to();
  return stream_;
}

GPU(Stream_t) VendorStream::behind_all() {
  behind_kernel_ = false;
  return here();
}

bool VendorStream::is_captured() const {
  GPU(StreamCaptureStatus) status{};
  require(GPU(StreamIsCapturing)(stream_, &status), "asking whether a stream is captured");
  return status != GPU(StreamCaptureStatusNone);
}

void VendorStream::copy(void* to, const void* from, Bytes bytes) {
  launched(1);
  const GPU(Stream_t) stream = behind_all();
  auto* target = static_cast<std::byte*>(to);
  const auto* source = static_cast<const std::byte*>(from);
  for (std::size_t left = bytes.count, piece = 0; left > 0; left -= piece) {
    piece = device_.pinned().together(source, device_.pinned().together(target, left));
    require(GPU(MemcpyAsync)(target, source, piece, GPU(MemcpyDefault), stream), "a copy");
    target += piece;
    source += piece;
  }
}

void VendorStream::fill(void* to, std::uint8_t byte, Bytes bytes) {
  launched(1);
  require(GPU(MemsetAsync)(to, byte, bytes.count, behind_all()), "filling memory");
}

void VendorStream::mark(Event& event) {
  const GPU(Event_t) moment = static_cast<VendorEvent&>(event).native();
  const GPU(Stream_t) stream = behind_all();
  require(is_captured() ? record_in_graph(moment, stream) : GPU(EventRecord)(moment, stream),
          "marking a moment");
}

void VendorStream::synchronize() {
  device_.count().waited();
  device_.watchdog().wait([stream = here()] { return is_done(GPU(StreamQuery)(stream)); });
}

void VendorStream::write_value(SharedFlag flag, std::uint32_t value) {
  if (!device_.properties().stream_memory_operations) return call_for<FlagCall::write>(flag, value);
  if (!stream_memory_operations().write_value(behind_all(), flag.address, value))
    throw_error(ErrorCode::kDevice, "{}: a stream refused to write a value; run without the GPU",
                kApi);
}

void VendorStream::wait_value(SharedFlag flag, std::uint32_t value) {
  if (!device_.properties().stream_memory_operations) return call_for<FlagCall::wait>(flag, value);
  if (!stream_memory_operations().wait_value(behind_all(), flag.address, value))
    throw_error(ErrorCode::kDevice, "{}: a stream refused to wait for a value; run without the GPU",
                kApi);
}

// What is captured is called by each launch, and stays as long as the device does.
template <void (*function)(void*)>
void VendorStream::call_for(SharedFlag flag, std::uint32_t value) {
  auto call = std::make_unique<FlagCall>(flag.address, value);
  if (is_captured()) return call_host(function, device_.keep(std::move(call)));
  call_host(FlagCall::once<function>, call.get());
  call.release();
}

// Whether a graph, if there is one, can be built and runs to its end.
bool VendorDevice::finishes(GPU(Graph_t) graph, GPU(Stream_t) stream) {
  if (graph == nullptr) return false;
  GPU(GraphExec_t) executable = nullptr;
  bool works = true;
  const auto go_on = [&](Status status) {
    ignore(status);
    works = works && status == kSuccess;
  };
  go_on(instantiate(&executable, graph));
  if (works) go_on(GPU(GraphLaunch)(executable, stream));
  watchdog_.wait([stream] { return is_done(GPU(StreamQuery)(stream)); });
  if (executable != nullptr) ignore(GPU(GraphExecDestroy)(executable));
  ignore(GPU(GraphDestroy)(graph));
  return works;
}

// Drivers have stream memory operations that they do not capture, or do at once while they capture:
// a graph with a wait and a write is tried. Nothing can hang: a wait that was not captured is over
// as soon as its flag is set here.
bool VendorDevice::captures_memory_operations() {
  const auto memory = MappedMemory::try_allocate(*this, Bytes(2 * sizeof(std::uint32_t)));
  if (!memory) return false;
  auto* const flags = reinterpret_cast<std::uint32_t*>(memory->data());
  const std::atomic_ref<std::uint32_t> released(flags[0]), reached(flags[1]);
  VendorStream stream(*this, StreamPriority::kNormal);
  stream.begin_capture();
  const auto native = static_cast<GPU(Stream_t)>(stream.stream());
  const StreamMemoryOperations& operations = stream_memory_operations();
  const bool taken =
      operations.wait_value(native, flags, 1) && operations.write_value(native, flags + 1, 1);
  GPU(Graph_t) graph = stream.try_end_capture();
  const bool was_early = reached.load() != 0;
  released.store(1);
  return finishes(graph, native) && taken && !was_early && reached.load() == 1;
}

// Likewise kernels that begin early: they may be refused where they are captured. Tried with two, of
// which the second copies what the first has copied.
bool VendorDevice::captures_early_launches() {
  constexpr std::size_t kBytes = 16, kJoined = kReadMemoryThreads * sizeof(std::uint32_t);
  const auto memory = MappedMemory::try_allocate(*this, Bytes(3 * kBytes + kJoined));
  if (!memory) return false;
  std::byte* const places = memory->data();
  std::memset(places, 1, kBytes);
  VendorStream stream(*this, StreamPriority::kNormal);
  stream.begin_capture();
  bool taken = true;
  try {
    for (std::size_t i = 0; i < 2; ++i)
      launch_read_memory({.from = places + i * kBytes,
                          .bytes = kBytes,
                          .to = places + (i + 1) * kBytes,
                          .joined = reinterpret_cast<std::uint32_t*>(places + 3 * kBytes)},
                         stream.native());
  } catch (const Error&) {
    taken = false;
  }
  GPU(Graph_t) graph = stream.try_end_capture();
  return finishes(graph, static_cast<GPU(Stream_t)>(stream.stream())) && taken &&
         std::memcmp(places, places + 2 * kBytes, kBytes) == 0;
}

void VendorStream::begin_capture() {
  device_.count().begin_capture();
  used_before_capture_ = device_.used();
  require(GPU(StreamBeginCapture)(behind_all(), GPU(StreamCaptureModeThreadLocal)), "beginning a graph");
}

// Kernels that were captured may have been loaded for it.
std::unique_ptr<Graph> VendorStream::end_capture() {
  device_.count().end_capture();
  GPU(Graph_t) native = nullptr;
  require(GPU(StreamEndCapture)(behind_all(), &native), "capturing a graph");
  auto graph = std::make_unique<VendorGraph>(native, device_.watchdog());
  if (!graph->try_build(stream_)) graph.reset();
  device_.meter().changed(used_before_capture_, device_.used());
  return graph;
}

// Null where there is no graph of it.
GPU(Graph_t) VendorStream::try_end_capture() noexcept {
  device_.count().end_capture();
  behind_kernel_ = false;
  GPU(Graph_t) graph = nullptr;
  ignore(GPU(StreamEndCapture)(stream_, &graph));
  return graph;
}

void VendorStream::drop_capture() noexcept {
  GPU(Graph_t) const graph = try_end_capture();
  if (graph != nullptr) ignore(GPU(GraphDestroy)(graph));
}

void VendorStream::launch(const Graph& graph) {
  launched(graph.node_count());
  const auto& launchable = static_cast<const VendorGraph&>(graph);
  const bool first = launchable.first_launch();
  const Bytes before = first ? device_.used() : Bytes(0);
  require(GPU(GraphLaunch)(launchable.native(), behind_all()), "launching a graph");
  if (first) device_.meter().changed(before, device_.used());
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
  for (int i = 0; i < count; ++i)
    if (const NativeProperties device = native_properties(i); has_kernels_for(device))
      found.devices.push_back(properties_of(i));
    else
      found.why_none =
          fmt::format("{} ({}) is none of those that this program has kernels for ({})",
                      device.name, architecture_of(device), kCompiledFor);
  if (!found.devices.empty()) found.why_none.clear();
  return found;
}

std::unique_ptr<Device> open_device(int ordinal) { return std::make_unique<VendorDevice>(ordinal); }

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
