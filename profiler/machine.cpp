#include "profiler/machine.h"

#include <algorithm>
#include <span>

#include "base/check.h"

namespace hearth::profiler {
namespace {

double interpolate(double x, double x0, double y0, double x1, double y1) {
  return y0 + (y1 - y0) * (x - x0) / (x1 - x0);
}

BytesPerSecond rate_of_threads(std::span<const ThreadRate> rates, std::uint32_t threads) {
  CHECK(!rates.empty());
  ThreadRate below{.threads = 0, .rate = 0};
  for (const ThreadRate& here : rates) {
    if (threads <= here.threads)
      return interpolate(threads, below.threads, below.rate, here.threads, here.rate);
    below = here;
  }
  return below.rate;
}

// A read of `read` bytes takes `seconds` of the disk's time.
struct ReadTime {
  double read = 0;
  double seconds = 0;
};

ReadTime time_at_best_depth(std::span<const DiskRate> of_one_size) {
  const auto best = std::ranges::max_element(of_one_size, {}, &DiskRate::rate);
  const auto read = static_cast<double>(best->read.count);
  return {.read = read, .seconds = read / best->rate};
}

}  // namespace

BytesPerSecond memory_rate(const CpuMachine& cpu, std::uint32_t threads) {
  return rate_of_threads(cpu.memory_read, threads);
}

BytesPerSecond kernel_rate(const CpuMachine& cpu, const std::string& format,
                           std::uint32_t threads) {
  const auto own = std::ranges::find(cpu.kernels, format, &KernelRate::format);
  if (own != cpu.kernels.end()) return rate_of_threads(own->rates, threads);
  return cpu.kernel_efficiency * memory_rate(cpu, threads);
}

BytesPerSecond disk_rate(const DiskMachine& disk, Bytes read) {
  CHECK(!disk.random_reads.empty());
  CHECK_GT(read.count, 0u);
  const auto wanted = static_cast<double>(read.count);
  std::span<const DiskRate> rest = disk.random_reads;
  ReadTime below;
  while (!rest.empty()) {
    const Bytes size = rest.front().read;
    const auto same = static_cast<std::size_t>(std::ranges::count(rest, size, &DiskRate::read));
    const ReadTime here = time_at_best_depth(rest.first(same));
    if (wanted <= here.read) {
      const double seconds =
          below.read == 0 ? here.seconds
                          : interpolate(wanted, below.read, below.seconds, here.read, here.seconds);
      return wanted / seconds;
    }
    below = here;
    rest = rest.subspan(same);
  }
  return below.read / below.seconds;
}

}  // namespace hearth::profiler
