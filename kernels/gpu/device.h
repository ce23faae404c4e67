// A GPU: its memory, streams, events and graphs, as an interface. CUDA and HIP implement it from
// one source (vendor/); for tests there is one in host memory with faults (emulation/).
//
// Errors. Out of memory is expected at load and is a result (null, empty, false). Whatever else
// fails is fatal, since a device that failed once answers nothing any more: Error(kDevice), one
// line with the call, the device and the driver's reason. Destructors ignore errors. Every wait of
// the host has a limit (watchdog.h). Threads: any thread may use a device once it has made it
// current, one at a time each stream.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/function_ref.h"
#include "base/units.h"
#include "kernels/gpu/launch_shape.h"
#include "kernels/gpu/memory_meter.h"

namespace hearth::kernels {

struct DeviceProperties {
  int ordinal = 0;
  std::string name;          // "NVIDIA GeForce RTX 4090"
  std::string architecture;  // "sm_89", "gfx1030"
  std::string driver;        // "CUDA 13.0"
  unsigned lanes = 0;        // of a warp
  unsigned multiprocessors = 0;
  Bytes memory;  // all of it
  Bytes l2;
  // What plans leave to the driver beside what it takes when the device is opened: kernels, which
  // are loaded as they are first launched, and graphs.
  Bytes driver_growth;
  bool maps_host_memory = false;  // kernels read pinned host memory at its host address
  bool stream_memory_operations =
      false;                  // else Stream::write_value and wait_value use host functions
  bool begins_early = false;  // a kernel, while the one before it in its stream still runs
  bool prefetches = false;    // a kernel can ask for memory before it reads it
  bool marks_graphs = false;  // Stream::mark works
};

// What the driver says of the whole device, other processes included.
struct DeviceMemory {
  Bytes free;
  Bytes total;
};

// What the host asked of a device, of all its streams together: what steps cost beside their work.
// What a capture keeps is not counted.
struct DeviceCalls {
  std::uint64_t launches = 0;  // of graphs, kernels, copies and fills
  std::uint64_t nodes = 0;     // likewise, with those of a graph for the graph
  std::uint64_t waits = 0;     // for a stream, an event or the device
};

class Device;

// A moment in a stream.
class Event {
 public:
  virtual ~Event() = default;
  virtual bool reached() const = 0;  // also true before the event was recorded
  virtual void wait() const = 0;     // on the host
  virtual Nanoseconds since(const Event& earlier) const = 0;  // both were reached, with timing
};

// Work that was captured once and is launched as a whole.
class Graph {
 public:
  virtual ~Graph() = default;
  virtual std::size_t node_count() const = 0;
};

// A 32-bit flag in memory that host and device share. It grows: what waits for a value is released
// by any later one. The values in a graph are those of its capture, so that the host sets the flags
// of a graph back before it launches it again.
struct SharedFlag {
  std::uint32_t* address = nullptr;  // in MappedMemory
};

// Work in order. Everything is asynchronous but synchronize(); host memory that a copy reads or
// writes is pinned, and stays until the copy is done.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual NativeStream native() const = 0;  // for the launch functions of this device's kernels

  virtual void copy(void* to, const void* from, Bytes bytes) = 0;  // host or device, either side
  virtual void fill(void* to, std::uint8_t byte, Bytes bytes) = 0;
  virtual void record(Event& event) = 0;
  virtual void wait(const Event& event) = 0;  // on the device
  // Takes the moment of a timed event when all before it is done, within a graph, too, where
  // record() only orders: each launch takes it anew. For devices with marks_graphs.
  virtual void mark(Event& event) = 0;
  virtual void write_value(SharedFlag flag, std::uint32_t value) = 0;
  virtual void wait_value(SharedFlag flag, std::uint32_t value) = 0;
  // `function(context)` on a thread of the driver: short, and it calls nothing of the device.
  virtual void call_host(void (*function)(void*), void* context) = 0;
  virtual void synchronize() = 0;

  // What is enqueued between the two is not run but kept. Other streams join by wait() for an event
  // that this one recorded, and are joined again before the end.
  virtual void begin_capture() = 0;
  virtual std::unique_ptr<Graph> end_capture() = 0;  // null: out of memory
  virtual void drop_capture() noexcept = 0;          // in the place of its end
  virtual void launch(const Graph& graph) = 0;
};

// What `work` enqueues on the stream, as a graph; null: out of memory. Where it throws the capture
// is over, too: a thread that captures can give nothing back.
std::unique_ptr<Graph> captured(Stream& stream, FunctionRef<void()> work);

enum class StreamPriority { kNormal, kHigh };
enum class EventTiming { kNone, kTimed };

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceProperties& properties() const = 0;
  virtual DeviceMemory memory() const = 0;
  // What this process takes of it, as far as can be told (kernels/gpu/memory_meter.h); and the most
  // that it was, after each allocation, captured graph and first launch of one.
  virtual DeviceUse use() const = 0;
  virtual Bytes peak() const = 0;
  virtual DeviceCalls calls() const = 0;  // since it was opened

  virtual std::unique_ptr<Stream> new_stream(StreamPriority priority) = 0;
  virtual std::unique_ptr<Event> new_event(EventTiming timing) = 0;
  virtual void synchronize() = 0;  // all streams
  // Of a device that hangs, or is lost: from now on nothing is given back to it, since that waits
  // for what it does, and nothing is waited for. The end of the process frees all.
  virtual void abandon() noexcept = 0;
  // Drivers keep for each thread which device its calls are for: this one from now on, as in the
  // thread that opened it. What fails is said by the next call.
  virtual void make_current() noexcept = 0;

  // For the owners below.
  virtual void* try_allocate(Bytes bytes) = 0;         // 256-byte aligned; null: out of memory
  virtual void* try_allocate_mapped(Bytes bytes) = 0;  // host memory that kernels see, zeroed
  virtual bool try_pin(std::span<std::byte> memory) = 0;
  virtual void free(void* memory) noexcept = 0;
  virtual void free_mapped(void* memory) noexcept = 0;
  virtual void unpin(std::byte* memory) noexcept = 0;
};

// What makes steps of a device faster and changes nothing else.
enum class DeviceHabit {
  kOverlap,  // kernels begin early (DeviceProperties::begins_early)
  kAhead,    // kernels of few blocks ask for what the next one reads (kernels/gpu/ahead.h)
};
// Not where HEARTH_GPU_WITHOUT names it, to measure what it is worth: "overlap", "ahead", or both
// with a comma between them. Error(kUsage) where that names anything else.
bool is_wanted(DeviceHabit habit);

// For a program that has its process for itself, before it looks for devices: drivers load all of
// its kernels when one is opened (some megabytes, which are counted then), and not each with its
// first launch, which may wait for whatever runs, take memory that nobody sees, or find none.
// What the environment says of it holds.
void load_kernels_when_opened();

// Counts them for a device; any thread.
class CallCounter {
 public:
  // False: captured, and not counted.
  bool launched(std::uint64_t nodes = 1) {
    if (captures_) return false;
    launches_ += 1;
    nodes_ += nodes;
    return true;
  }
  void waited() { waits_ += 1; }
  void begin_capture() { captures_ = true; }
  void end_capture() { captures_ = false; }
  DeviceCalls calls() const { return {.launches = launches_, .nodes = nodes_, .waits = waits_}; }

 private:
  std::atomic<std::uint64_t> launches_ = 0, nodes_ = 0, waits_ = 0;
  std::atomic<bool> captures_ = false;
};

// Memory of the device. Uninitialised.
class DeviceBuffer {
 public:
  static std::optional<DeviceBuffer> try_allocate(Device& device, Bytes bytes);
  DeviceBuffer() = default;
  DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;
  ~DeviceBuffer();

  std::byte* data() const { return data_; }
  Bytes size() const { return size_; }

 private:
  Device* device_ = nullptr;
  std::byte* data_ = nullptr;
  Bytes size_;
};

// Host memory that kernels read and write at the same address: flags, small rows. Zeroed.
class MappedMemory {
 public:
  static std::optional<MappedMemory> try_allocate(Device& device, Bytes bytes);
  MappedMemory() = default;
  MappedMemory(MappedMemory&& other) noexcept { *this = std::move(other); }
  MappedMemory& operator=(MappedMemory&& other) noexcept;
  ~MappedMemory();

  std::byte* data() const { return data_; }
  Bytes size() const { return size_; }

 private:
  Device* device_ = nullptr;
  std::byte* data_ = nullptr;
  Bytes size_;
};

// Memory that somebody else owns, pinned for the device as far as the system allows: chunk by chunk
// from its start, until all is pinned or a chunk is refused (a limit on locked memory). What is not
// pinned is served by copies through a pinned buffer, or by the CPU.
class PinnedMemory {
 public:
  // `memory` starts at a page and outlives this; chunk is a multiple of the page.
  static PinnedMemory pin(Device& device, std::span<std::byte> memory, Bytes chunk = 256 * kMiB);
  PinnedMemory() = default;
  PinnedMemory(PinnedMemory&& other) noexcept { *this = std::move(other); }
  PinnedMemory& operator=(PinnedMemory&& other) noexcept;
  ~PinnedMemory();

  std::span<std::byte> pinned() const { return memory_.first(pinned_); }
  bool complete() const { return pinned_ == memory_.size(); }

 private:
  Device* device_ = nullptr;
  std::span<std::byte> memory_;
  std::size_t chunk_ = 0;
  std::size_t pinned_ = 0;
};

}  // namespace hearth::kernels
