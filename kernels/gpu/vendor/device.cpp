// Devices of CUDA and of HIP: what they are, what their drivers can do, and what they give.
#include <fmt/format.h>

#include <atomic>
#include <cstring>
#include <string_view>

#include "kernels/gpu/backend.h"
#include "kernels/gpu/read_memory.h"
#include "kernels/gpu/vendor/objects.h"
#include "kernels/gpu/vendor/open.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

void launch_read_memory(const ReadMemoryTask& task, NativeStream stream);

namespace {

constexpr std::string_view kCompiledFor = HEARTH_GPU_COMPILED_FOR;

// Not measured yet on any card: 5 MB of kernels, where they are not there from the start, and
// graphs of some thousand nodes.
constexpr Bytes kDriverGrowth = 160 * kMiB;

#ifdef HEARTH_HIP_SOURCE
using NativeProperties = hipDeviceProp_t;
#else
using NativeProperties = cudaDeviceProp;
#endif

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
          .begins_early = is_wanted(DeviceHabit::kOverlap) && begins_early(device, version),
          .prefetches = kPrefetches,
          .marks_graphs = kMarksGraphs};
}

}  // namespace

VendorDevice::VendorDevice(int ordinal) {
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

// Whether there is a graph that can be built and runs to its end. Either way the stream has nothing
// to do any more, not even what a driver did at once that was to be captured.
bool VendorDevice::finishes(GPU(Graph_t) graph, GPU(Stream_t) stream) {
  GPU(GraphExec_t) executable = nullptr;
  bool works = graph != nullptr;
  const auto go_on = [&](Status status) {
    ignore(status);
    works = works && status == kSuccess;
  };
  if (works) go_on(instantiate(&executable, graph));
  if (works) go_on(GPU(GraphLaunch)(executable, stream));
  watchdog_.wait([stream] { return is_done(GPU(StreamQuery)(stream)); });
  if (executable != nullptr) ignore(GPU(GraphExecDestroy)(executable));
  if (graph != nullptr) ignore(GPU(GraphDestroy)(graph));
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

// Likewise kernels that begin early: they may be refused where they are captured. Tried with two,
// of which the second copies what the first has copied.
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
