// What every benchmark of a GPU's kernels needs: memory that no cache holds to walk through,
// scratch, and the time of a launch in a captured graph, as decoding has them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/function_ref.h"
#include "base/units.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/kernel_table.h"

namespace hearth::kernels {

struct GpuBenchSizes {
  std::uint32_t dense_rows = 4096, columns = 2048, expert_ff = 768, experts_used = 8;
  std::uint32_t vocabulary = 151'936;
  std::vector<std::uint32_t> rows = {1, 2, 4, 8};
  std::uint32_t prompt_rows = 512;
  std::uint32_t slots = 4096;  // of experts, twice as many of which there are
  std::vector<std::uint32_t> contexts = {4096, 32768};
  // Activations and outputs of the widest task, states of attention, lists of jobs.
  Bytes scratch = 96 * kMiB;
  Bytes memory = kGiB;             // that is walked through; more where the last cache is large
  Bytes host_memory = 256 * kMiB;  // likewise, over the link
  std::uint32_t most_repeats = 64;
  Nanoseconds time = std::chrono::milliseconds(20);  // of one measurement; 0: once
};

struct GpuBenchResult {
  std::string operation, format;
  std::uint32_t rows = 0;
  double microseconds = 0;
  double gb_s = 0;  // 0: too few bytes for a rate
  double tops = 0;  // 10^12 operations a second, of products with many rows; else 0
  bool over_link = false;
};

// What one launch of an operation does.
struct GpuBenchWork {
  double bytes = 0;       // of weights, keys and values that it reads; 0: no rate is stated
  double operations = 0;  // multiplications and additions; 0: likewise
  bool over_link = false;
};

class GpuBench {
 public:
  // Throws Error(kBudget) where the device has too little memory free.
  GpuBench(Device& device, const GpuKernels& kernels, const GpuBenchSizes& sizes);

  const GpuKernels& kernels() const { return kernels_; }
  NativeStream stream() const { return stream_->native(); }
  const GpuBenchSizes& sizes() const { return sizes_; }
  Bytes walked() const { return walked_.size(); }

  // Scratch until the next measure(); small positive numbers, or what is given.
  template <typename T>
  T* carve(std::size_t count) {
    return reinterpret_cast<T*>(carve_bytes(count * sizeof(T)));
  }
  template <typename T>
  T* carve(const std::vector<T>& values) {
    T* const at = carve<T>(values.size());
    copy(at, values.data(), Bytes(values.size() * sizeof(T)));
    return at;
  }
  QuantizeTask::Destination activations(std::uint32_t rows, std::uint32_t columns);

  // Piece i of those of this size that fit one after the other, again and again; of the device's
  // memory, and of the host's, which kernels see.
  std::byte* walk(std::uint64_t i, std::uint64_t bytes) const;
  std::byte* walk_host(std::uint64_t i, std::uint64_t bytes) const;
  // How many launches of a graph read so many bytes each without reading any twice; some at least
  // and at most.
  std::uint32_t repeats(double bytes) const;

  void measure(const GpuBenchResult& named, const GpuBenchWork& work,
               FunctionRef<void(std::uint32_t launch)> enqueue);
  void measure(const GpuBenchResult& named, double bytes,
               FunctionRef<void(std::uint32_t launch)> enqueue) {
    measure(named, {.bytes = bytes}, enqueue);
  }
  // Within what is measured.
  void enqueue_copy(void* to, const void* from, Bytes bytes) { stream_->copy(to, from, bytes); }
  // Of a kernel that only reads, and of the copy engine from the host.
  double read_gb_s() const { return read_gb_s_; }
  double link_gb_s() const { return link_gb_s_; }
  // What a result's rate is a share of.
  double peak_gb_s(const GpuBenchResult& result) const {
    return result.over_link ? link_gb_s_ : read_gb_s_;
  }
  const std::vector<GpuBenchResult>& results() const { return results_; }

 private:
  std::byte* carve_bytes(std::size_t bytes);
  void copy(void* to, const void* from, Bytes bytes);
  void fill();
  double seconds_each(std::uint32_t count, FunctionRef<void(std::uint32_t)> enqueue);
  double measure_reading(std::uint32_t blocks);
  double measure_link();

  const GpuKernels& kernels_;
  const GpuBenchSizes sizes_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Event> begin_, end_;
  DeviceBuffer walked_, scratch_;
  MappedMemory host_;
  std::size_t carved_ = 0;
  double read_gb_s_ = 0, link_gb_s_ = 0;
  std::vector<GpuBenchResult> results_;
};

}  // namespace hearth::kernels
