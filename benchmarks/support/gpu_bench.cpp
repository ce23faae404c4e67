#include "benchmarks/support/gpu_bench.h"

#include <algorithm>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"

namespace hearth::kernels {
namespace {

constexpr std::uint32_t kBlocksPerMultiprocessor = 8;

DeviceBuffer take(Device& device, Bytes bytes) {
  auto buffer = DeviceBuffer::try_allocate(device, bytes);
  if (!buffer)
    throw_error(ErrorCode::kBudget, "{}: {} MiB of its memory are not free; close what uses it",
                device.properties().name, bytes / kMiB);
  return std::move(*buffer);
}

}  // namespace

GpuBench::GpuBench(Device& device, const GpuKernels& kernels, const GpuBenchSizes& sizes)
    : kernels_(kernels),
      sizes_(sizes),
      stream_(device.new_stream(StreamPriority::kNormal)),
      begin_(device.new_event(EventTiming::kTimed)),
      end_(device.new_event(EventTiming::kTimed)) {
  const DeviceProperties& properties = device.properties();
  walked_ = take(device, std::min(std::max(sizes.memory, 4 * properties.l2),
                                  Bytes(device.memory().free.count / 2)));
  scratch_ = take(device, sizes.scratch);
  auto host = MappedMemory::try_allocate(device, sizes.host_memory);
  if (!host)
    throw_error(ErrorCode::kBudget, "{}: the system refuses {} MiB of memory that it shares",
                properties.name, sizes.host_memory / kMiB);
  host_ = std::move(*host);
  fill();
  link_gb_s_ = 1e-9 * measure_link();
  read_gb_s_ =
      1e-9 * measure_reading(kBlocksPerMultiprocessor * std::max(1u, properties.multiprocessors));
}

// Bytes below 0x40: as any float they are numbers, and small ones.
void GpuBench::fill() {
  Random random(1);
  std::vector<std::uint64_t> piece((256 * kKiB).count / 8);
  for (std::uint64_t& word : piece) word = random.next() & 0x3f3f3f3f3f3f3f3full;
  const Bytes bytes(8 * piece.size());
  for (const DeviceBuffer* buffer : {&walked_, &scratch_})
    for (std::uint64_t at = 0; at < buffer->size().count; at += bytes.count)
      stream_->copy(buffer->data() + at, piece.data(),
                    std::min(bytes, Bytes(buffer->size().count - at)));
  stream_->synchronize();
}

std::byte* GpuBench::carve_bytes(std::size_t bytes) {
  std::byte* const at = scratch_.data() + carved_;
  carved_ += round_up(bytes, 256);
  CHECK_LE(carved_, scratch_.size().count);
  return at;
}

void GpuBench::copy(void* to, const void* from, Bytes bytes) {
  stream_->copy(to, from, bytes);
  stream_->synchronize();
}

QuantizeTask::Destination GpuBench::activations(std::uint32_t rows, std::uint32_t columns) {
  const std::size_t values = std::size_t{rows} * columns;
  return {.rows = rows,
          .columns = columns,
          .stride = columns,
          .values = carve<float>(values),
          .codes = carve<std::int8_t>(values),
          .scales = carve<float>(values / 32),
          .sums = carve<std::int16_t>(values / 16)};
}

std::byte* GpuBench::walk(std::uint64_t i, std::uint64_t bytes) const {
  const std::uint64_t step = round_up(bytes, 256);
  const std::uint64_t pieces = std::max<std::uint64_t>(1, walked_.size().count / step);
  return walked_.data() + i % pieces * step;
}

std::byte* GpuBench::walk_host(std::uint64_t i, std::uint64_t bytes) const {
  const std::uint64_t step = round_up(bytes, 256);
  const std::uint64_t pieces = std::max<std::uint64_t>(1, host_.size().count / step);
  return host_.data() + i % pieces * step;
}

std::uint32_t GpuBench::repeats(double bytes) const {
  const double pieces = static_cast<double>(walked_.size().count) / std::max(bytes, 1.0);
  return static_cast<std::uint32_t>(std::clamp(pieces, 1.0, 1.0 * sizes_.most_repeats));
}

// Of one of `count` launches in a graph: what a quarter of its repetitions stay below.
double GpuBench::seconds_each(std::uint32_t count, FunctionRef<void(std::uint32_t)> enqueue) {
  const auto graph = captured(*stream_, [&] {
    for (std::uint32_t i = 0; i < count; ++i) enqueue(i);
  });
  std::vector<double> times;
  const Nanoseconds start = steady_clock().now();
  do {
    stream_->record(*begin_);
    stream_->launch(*graph);
    stream_->record(*end_);
    end_->wait();
    times.push_back(seconds(end_->since(*begin_)) / count);
  } while (steady_clock().now() - start < sizes_.time);
  const auto quarter = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 4);
  std::nth_element(times.begin(), quarter, times.end());
  return std::max(*quarter, 1e-9);
}

double GpuBench::measure_reading(std::uint32_t blocks) {
  auto* const joined = carve<std::uint32_t>(std::size_t{blocks} * kReadMemoryThreads);
  const std::uint64_t bytes = walked_.size().count / 16 * 16;
  const double time = seconds_each(1, [&](std::uint32_t) {
    kernels_.read_memory(
        {.from = walked_.data(), .bytes = bytes, .blocks = blocks, .joined = joined}, stream());
  });
  carved_ = 0;
  return static_cast<double>(bytes) / time;
}

double GpuBench::measure_link() {
  const Bytes bytes = std::min(host_.size(), walked_.size());
  const double time =
      seconds_each(1, [&](std::uint32_t) { stream_->copy(walked_.data(), host_.data(), bytes); });
  return static_cast<double>(bytes.count) / time;
}

void GpuBench::measure(const GpuBenchResult& named, const GpuBenchWork& work,
                       FunctionRef<void(std::uint32_t)> enqueue) {
  const double time = seconds_each(repeats(work.bytes), enqueue);
  GpuBenchResult result = named;
  result.microseconds = 1e6 * time;
  result.gb_s = 1e-9 * work.bytes / time;
  result.tops = 1e-12 * work.operations / time;
  result.over_link = work.over_link;
  results_.push_back(result);
  carved_ = 0;
}

}  // namespace hearth::kernels
