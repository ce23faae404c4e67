// What every kernel test runs on, and memory there: the emulation with warps of 32 and of 64 lanes,
// and each GPU of this machine that this program was built for.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/kernel_table.h"
#include "kernels/gpu/quantize.h"

namespace hearth::kernels {

struct TestDevice {
  std::string name;
  Device* device = nullptr;
  const GpuKernels* kernels = nullptr;
  Stream* stream = nullptr;
};

const std::vector<TestDevice>& test_devices();

// Memory of a device with what a test puts there; what nobody wrote is ones, floats that are NaN.
template <typename T>
class DeviceArray {
 public:
  // `readable_past_end`: bytes after the last element that a kernel may read. `skipped`: bytes
  // before the first one, which begins at no higher power of two then.
  DeviceArray(const TestDevice& on, std::size_t count, std::size_t readable_past_end = 0,
              std::size_t skipped = 0)
      : on_(&on), count_(count), skipped_(skipped) {
    const Bytes bytes(skipped + count * sizeof(T) + readable_past_end);
    auto buffer = DeviceBuffer::try_allocate(*on.device, bytes);
    CHECK(buffer.has_value());
    buffer_ = std::move(*buffer);
    if (bytes.count > 0) on.stream->fill(buffer_.data(), 0xff, bytes);
  }
  DeviceArray(const TestDevice& on, std::span<const T> values, std::size_t readable_past_end = 0,
              std::size_t skipped = 0)
      : DeviceArray(on, values.size(), readable_past_end, skipped) {
    if (values.empty()) return;
    on.stream->copy(data(), values.data(), Bytes(values.size_bytes()));
    on.stream->synchronize();  // `values` may be gone soon
  }
  DeviceArray(const TestDevice& on, const std::vector<T>& values)
      : DeviceArray(on, std::span<const T>(values)) {}

  T* data() const { return reinterpret_cast<T*>(buffer_.data() + skipped_); }
  std::size_t size() const { return count_; }

  // Copied back, when all that was enqueued is done.
  std::vector<T> values() const {
    std::vector<T> copy(count_);
    if (count_ > 0) on_->stream->copy(copy.data(), data(), Bytes(count_ * sizeof(T)));
    on_->stream->synchronize();
    return copy;
  }

 private:
  const TestDevice* on_;
  std::size_t count_;
  std::size_t skipped_;
  DeviceBuffer buffer_;
};

// A matrix on a device, as little aligned as one may be: the word that its end reaches into can be
// read.
DeviceArray<std::byte> on_device(const TestDevice& on, const WeightMatrix& w);

// Activations on a device: a copy, or room that a kernel fills.
class DeviceActivations {
 public:
  DeviceActivations(const TestDevice& on, const Activations& x);
  DeviceActivations(const TestDevice& on, std::uint32_t rows, std::uint32_t columns);

  Activations view() const;
  QuantizeTask::Destination destination() const;

  DeviceArray<float> values;
  DeviceArray<std::int8_t> codes;
  DeviceArray<float> scales;
  DeviceArray<std::int16_t> sums;

 private:
  std::uint32_t rows_, columns_, stride_;
};

// NaN equals NaN, all else is compared by its bits.
void expect_same_bits(std::span<const float> expected, std::span<const float> found,
                      const std::string& where);

}  // namespace hearth::kernels
