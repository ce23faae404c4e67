#include "tools/hearth/doctor_gpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/function_ref.h"
#include "io/arena.h"
#include "tools/hearth/doctor_cpu.h"
#include "tools/hearth/doctor_gpu_layer.h"
#include "tools/hearth/quantity.h"

namespace hearth::tools {
namespace {

using kernels::DeviceBuffer;
using kernels::Event;
using kernels::EventTiming;
using kernels::Graph;
using kernels::MappedMemory;
using kernels::PinnedMemory;
using kernels::SharedFlag;
using kernels::Stream;
using kernels::StreamPriority;
using profiler::BytesPerSecond;
using profiler::GpuMachine;

constexpr std::size_t kFewestRepetitions = 3;
constexpr Bytes kMostPiece = 64 * kMiB;  // of what goes over the link at once
constexpr Bytes kLeastDeviceMemory = 4 * kMiB;
constexpr std::uint32_t kBlocksPerMultiprocessor = 8;
constexpr std::uint32_t kGatherBlocks = 32;  // GatherTask::blocks
constexpr std::uint32_t kLaunches = 64;      // of a series
constexpr std::uint32_t kHandOvers = 64;
constexpr Nanoseconds kPatience = std::chrono::seconds(5);  // for one series of hand-overs

Nanoseconds quarter_of(std::vector<Nanoseconds>& times) {
  const auto quarter = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 4);
  std::nth_element(times.begin(), quarter, times.end());
  return std::max(*quarter, Nanoseconds(1));
}

BytesPerSecond rate_of(Bytes bytes, Nanoseconds time) {
  return static_cast<double>(bytes.count) / seconds(std::max(time, Nanoseconds(1)));
}

DeviceBuffer device_memory(kernels::Device& device, Bytes bytes) {
  auto buffer = DeviceBuffer::try_allocate(device, bytes);
  if (!buffer)
    throw_error(ErrorCode::kBudget, "{}: {} of its memory are not to be had; close what uses it",
                device.properties().name, format_size(bytes));
  return std::move(*buffer);
}

class GpuMeasurement {
 public:
  explicit GpuMeasurement(const GpuProbe& probe)
      : probe_(probe),
        device_(probe.device),
        stream_(device_.new_stream(StreamPriority::kNormal)),
        side_(device_.new_stream(StreamPriority::kHigh)),
        begin_(device_.new_event(EventTiming::kTimed)),
        end_(device_.new_event(EventTiming::kTimed)),
        fork_(device_.new_event(EventTiming::kNone)),
        join_(device_.new_event(EventTiming::kNone)) {
    take_memory();
  }

  void measure(GpuMachine& gpu) {
    probe_.progress("GPU, memory");
    gpu.memory_read = rate_of(memory_.size(), typical([&] { read_all(); }));
    measure_link(gpu);
    measure_link_beside_cpu(gpu);
    measure_launches(gpu);
    measure_join(gpu);
  }

 private:
  void take_memory() {
    // What is left for others grows while this is measured, and shrinks: half is enough.
    const Bytes free(device_.memory().free.count / 2);
    const Bytes most = std::min(probe_.device_memory, free);
    if (most < kLeastDeviceMemory)
      throw_error(ErrorCode::kBudget,
                  "{}: {} of its memory are free, too little to measure with; close what uses it",
                  device_.properties().name, format_size(free));
    memory_ = device_memory(device_, Bytes(most.count / kMiB.count * kMiB.count));
    stream_->fill(memory_.data(), 0, memory_.size());
    reading_blocks_ = kBlocksPerMultiprocessor * std::max(1u, device_.properties().multiprocessors);
    joined_ = device_memory(device_, Bytes(std::max(kGatherBlocks, reading_blocks_) *
                                           sizeof(std::uint32_t) * kernels::kReadMemoryThreads));

    const std::size_t half = probe_.memory.size() / 2 / kMiB.count * kMiB.count;
    host_ = probe_.memory.first(std::min({half, kMostPiece.count, memory_.size().count}));
    pinned_ = PinnedMemory::pin(device_, host_, Bytes(host_.size()));
    if (!pinned_.complete())
      throw_error(ErrorCode::kBudget,
                  "{}: the system refuses to pin {} of memory for it; raise the limit on locked "
                  "memory (ulimit -l)",
                  device_.properties().name, format_size(Bytes(host_.size())));
    load_memory_ = probe_.memory.subspan(half);
  }

  // Of the device, for what `enqueue` enqueues.
  Nanoseconds timed(FunctionRef<void()> enqueue) {
    stream_->record(*begin_);
    enqueue();
    stream_->record(*end_);
    end_->wait();
    return end_->since(*begin_);
  }

  Nanoseconds typical(FunctionRef<void()> enqueue) {
    timed(enqueue);  // what is loaded when it is first used
    std::vector<Nanoseconds> times;
    const Nanoseconds start = steady_clock().now();
    while (times.size() < kFewestRepetitions || steady_clock().now() - start < probe_.time)
      times.push_back(timed(enqueue));
    return quarter_of(times);
  }

  struct Reading {
    const std::byte* from;
    Bytes bytes;
    std::byte* to = nullptr;
    std::uint32_t blocks = 1;
  };
  void read(const Reading& reading) {
    probe_.kernels.read_memory({.from = reading.from,
                                .bytes = reading.bytes.count,
                                .to = reading.to,
                                .blocks = reading.blocks,
                                .joined = joined()},
                               stream_->native());
  }
  std::uint32_t* joined() const { return reinterpret_cast<std::uint32_t*>(joined_.data()); }
  void read_all() { read({memory_.data(), memory_.size(), nullptr, reading_blocks_}); }
  void launch_nothing() { read({memory_.data(), Bytes(0)}); }  // the least that a kernel can be

  Bytes piece() const { return Bytes(host_.size()); }
  void copy_to_device() { stream_->copy(memory_.data(), host_.data(), piece()); }
  void copy_to_host() { stream_->copy(host_.data(), memory_.data(), piece()); }
  void gather() { read({host_.data(), piece(), memory_.data(), kGatherBlocks}); }

  void measure_link(GpuMachine& gpu) {
    probe_.progress("GPU, link");
    gpu.host_to_device = rate_of(piece(), typical([&] { copy_to_device(); }));
    gpu.device_to_host = rate_of(piece(), typical([&] { copy_to_host(); }));
    gpu.gather = rate_of(piece(), typical([&] { gather(); }));
  }

  struct Shared {
    BytesPerSecond link = 0;
    BytesPerSecond cpu = 0;
  };

  // Transfers of as long as one measurement, and products until they are done.
  Shared beside_products(FunctionRef<void()> transfer, BytesPerSecond alone,
                         const std::function<Bytes()>& multiply) {
    const double wanted = seconds(probe_.time) * alone / static_cast<double>(piece().count);
    const auto count = static_cast<std::uint64_t>(std::clamp(std::ceil(wanted), 1.0, 1000.0));
    stream_->record(*begin_);
    for (std::uint64_t i = 0; i < count; ++i) transfer();
    stream_->record(*end_);
    const Nanoseconds start = steady_clock().now();
    Bytes multiplied;
    do {
      multiplied += multiply();
    } while (!end_->reached());
    const Nanoseconds time = steady_clock().now() - start;
    end_->wait();
    return {.link = rate_of(piece() * count, end_->since(*begin_)),
            .cpu = rate_of(multiplied, time)};
  }

  void measure_link_beside_cpu(GpuMachine& gpu) {
    probe_.progress("GPU, link beside the CPU");
    kernels::WorkerPool pool(probe_.threads);
    const std::function<Bytes()> multiply = product_load(pool, probe_.cpu, load_memory_);
    const Shared copies = beside_products([&] { copy_to_device(); }, gpu.host_to_device, multiply);
    const Shared gathers = beside_products([&] { gather(); }, gpu.gather, multiply);
    gpu.host_to_device_shared = copies.link;
    gpu.gather_shared = gathers.link;
    gpu.cpu_shared = std::min(copies.cpu, gathers.cpu);
  }

  std::unique_ptr<Graph> captured(FunctionRef<void()> enqueue) {
    auto graph = kernels::captured(*stream_, enqueue);
    if (graph == nullptr)
      throw_error(ErrorCode::kBudget, "{}: it has no memory for a graph; close what uses it",
                  device_.properties().name);
    return graph;
  }
  // Of one of `count` equal parts of a graph.
  Nanoseconds part_of_graph(std::uint32_t count, FunctionRef<void()> enqueue) {
    const auto graph = captured([&] {
      for (std::uint32_t i = 0; i < count; ++i) enqueue();
    });
    return typical([&] { stream_->launch(*graph); }) / count;
  }

  void measure_launches(GpuMachine& gpu) {
    probe_.progress("GPU, launches");
    gpu.launch = each_launch();
    gpu.graph_node = part_of_graph(kLaunches, [&] { launch_nothing(); });
    const Nanoseconds with_fetch = part_of_graph(kLaunches, [&] { fetch_beside(); });
    gpu.fetch_overhead = std::max(with_fetch - gpu.graph_node, Nanoseconds(1));
    GpuLayerWork layer(device_memory(device_, GpuLayerWork::kMemory), probe_.kernels, *stream_);
    gpu.layer_overhead = part_of_graph(probe_.layers, [&] { layer.enqueue(); });
  }

  // On the host's clock: where launching takes longer than running, that is what a token costs.
  Nanoseconds each_launch() {
    std::vector<Nanoseconds> times;
    for (std::size_t i = 0; i <= kFewestRepetitions; ++i) {
      const Nanoseconds start = steady_clock().now();
      for (std::uint32_t k = 0; k < kLaunches; ++k) launch_nothing();
      stream_->synchronize();
      times.push_back((steady_clock().now() - start) / kLaunches);
    }
    return quarter_of(times);
  }

  // A kernel, and beside it, in a branch of its own, one that fetches next to nothing.
  void fetch_beside() {
    stream_->record(*fork_);
    side_->wait(*fork_);
    probe_.kernels.read_memory({.from = host_.data(),
                                .bytes = sizeof(std::uint64_t) * 2,
                                .to = memory_.data(),
                                .blocks = 1,
                                .joined = joined() + kernels::kReadMemoryThreads},
                               side_->native());
    side_->record(*join_);
    launch_nothing();
    stream_->wait(*join_);
  }

  void measure_join(GpuMachine& gpu) {
    probe_.progress("GPU, hand-over");
    gpu.join_overhead = hand_over_and_back();
    const Nanoseconds all = timed([&] {
      for (std::uint32_t i = 0; i < kHandOvers; ++i) stream_->call_host([](void*) {}, nullptr);
    });
    gpu.host_call = std::max(all / kHandOvers, Nanoseconds(1));
  }

  // A doorbell that the stream writes, an answer of a polling thread for which it waits.
  Nanoseconds hand_over_and_back() {
    auto flags = MappedMemory::try_allocate(device_, Bytes(128));
    if (!flags)
      throw_error(ErrorCode::kBudget, "{}: no memory can be shared between it and the host",
                  device_.properties().name);
    const SharedFlag doorbell{reinterpret_cast<std::uint32_t*>(flags->data())};
    const SharedFlag answer{reinterpret_cast<std::uint32_t*>(flags->data() + 64)};
    std::jthread host([&](const std::stop_token& stop) {
      std::atomic_ref<std::uint32_t> rung(*doorbell.address), answered(*answer.address);
      while (!stop.stop_requested())
        answered.store(rung.load(std::memory_order_acquire), std::memory_order_release);
    });
    stream_->record(*begin_);
    for (std::uint32_t i = 1; i <= kHandOvers; ++i) {
      stream_->write_value(doorbell, i);
      stream_->wait_value(answer, i);
    }
    stream_->record(*end_);
    const Nanoseconds start = steady_clock().now();
    while (!end_->reached()) {
      if (steady_clock().now() - start < kPatience) continue;
      host = {};  // which would take the answer back
      std::atomic_ref(*answer.address).store(kHandOvers, std::memory_order_release);
      throw_error(ErrorCode::kDevice,
                  "{}: it waits for what the host wrote and does not see it; update the driver",
                  device_.properties().name);
    }
    return std::max(end_->since(*begin_) / kHandOvers, Nanoseconds(1));
  }

  const GpuProbe& probe_;
  kernels::Device& device_;
  std::unique_ptr<Stream> stream_, side_;
  std::unique_ptr<Event> begin_, end_, fork_, join_;
  DeviceBuffer memory_, joined_;
  std::uint32_t reading_blocks_ = 1;
  std::span<std::byte> host_, load_memory_;
  PinnedMemory pinned_;
};

// How much of `tried` can be pinned; nothing where all of it can.
std::optional<Bytes> most_pinned(kernels::Device& device, Bytes tried) {
  const io::Arena memory(tried);
  const auto pinned = PinnedMemory::pin(device, memory.bytes(), 64 * kMiB);
  if (pinned.complete()) return std::nullopt;
  return Bytes(pinned.pinned().size());
}

double whole_mb(double rate) { return std::max(1.0, std::round(rate / 1e6)) * 1e6; }

void round_rates(GpuMachine& gpu) {
  for (BytesPerSecond* rate :
       {&gpu.memory_read, &gpu.host_to_device, &gpu.device_to_host, &gpu.gather,
        &gpu.host_to_device_shared, &gpu.gather_shared, &gpu.cpu_shared})
    *rate = whole_mb(*rate);
}

}  // namespace

GpuMachine measure_gpu(const GpuProbe& probe) {
  CHECK_GE(probe.memory.size(), (64 * kMiB).count);
  GpuMachine gpu{.name = probe.device.properties().name};
  GpuMeasurement(probe).measure(gpu);
  round_rates(gpu);
  probe.progress("GPU, pinned memory");
  gpu.pinnable = most_pinned(probe.device, probe.pinned);
  // Now, since drivers load kernels when they are first used.
  const kernels::DeviceMemory left = probe.device.memory();
  gpu.memory = kMiB * (left.total / kMiB);
  gpu.reserved = kMiB * ((left.total - left.free) / kMiB);
  return gpu;
}

}  // namespace hearth::tools
