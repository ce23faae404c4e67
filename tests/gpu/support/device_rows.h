// What the tests of kernels share: memory whose end cannot be read past, and both widths of a warp.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/gpu/emulation/queue.h"
#include "kernels/gpu/kernel_table.h"
#include "tests/kernels/support/matrices.h"

namespace hearth::kernels {

// The memory of a device: aligned like it, and an allocation of its own, so that an address
// sanitizer sees what reaches past its end. Filled with ones, floats that are NaN.
template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count, std::size_t readable_past_end = 0)
      : count_(count), data_(allocate(count * sizeof(T) + readable_past_end)) {
    std::memset(static_cast<void*>(data_.get()), 0xff, count * sizeof(T) + readable_past_end);
  }
  DeviceArray(std::span<const T> values, std::size_t readable_past_end = 0)
      : DeviceArray(values.size(), readable_past_end) {
    std::memcpy(static_cast<void*>(data_.get()), values.data(), values.size_bytes());
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(std::span<const T>(values)) {}

  T* data() const { return data_.get(); }
  std::size_t size() const { return count_; }
  T& operator[](std::size_t i) const { return data_[i]; }
  std::vector<T> values() const { return {data(), data() + count_}; }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  static T* allocate(std::size_t bytes) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 256, bytes == 0 ? 1 : bytes) != 0) throw std::bad_alloc();
    return static_cast<T*>(memory);
  }

  std::size_t count_;
  std::unique_ptr<T[], Free> data_;
};

// A matrix on the device: what lies past its end can be read up to a whole word.
inline DeviceArray<std::byte> on_device(const WeightMatrix& w) {
  const std::size_t bytes = w.bytes();
  return DeviceArray<std::byte>(std::span(w.data, bytes), (4 - bytes % 4) % 4);
}

// Activations on the device, copied from the host.
struct DeviceActivations {
  explicit DeviceActivations(const Activations& x)
      : values(std::span(x.values, std::size_t{x.rows} * x.stride)),
        codes(std::span(x.codes, std::size_t{x.rows} * x.stride)),
        scales(std::span(x.scales, std::size_t{x.rows} * x.stride / 32)),
        sums(std::span(x.sums, std::size_t{x.rows} * x.stride / 16)),
        view{x.rows, x.columns, x.stride, values.data(), codes.data(), scales.data(), sums.data()} {
  }
  DeviceArray<float> values;
  DeviceArray<std::int8_t> codes;
  DeviceArray<float> scales;
  DeviceArray<std::int16_t> sums;
  Activations view;
};

// Room for activations that a kernel writes.
struct DeviceDestination {
  DeviceDestination(std::uint32_t rows, std::uint32_t columns)
      : stride(static_cast<std::uint32_t>(round_up(columns, kActivationPadding))),
        values(std::size_t{rows} * stride),
        codes(std::size_t{rows} * stride),
        scales(std::size_t{rows} * stride / 32),
        sums(std::size_t{rows} * stride / 16),
        to{rows, columns, stride, values.data(), codes.data(), scales.data(), sums.data()} {}
  std::uint32_t stride;
  DeviceArray<float> values;
  DeviceArray<std::int8_t> codes;
  DeviceArray<float> scales;
  DeviceArray<std::int16_t> sums;
  QuantizeTask::Destination to;
};

// NaN equals NaN, all else is compared by its bits.
inline void expect_same_bits(std::span<const float> expected, std::span<const float> found,
                             const std::string& where) {
  ASSERT_EQ(expected.size(), found.size()) << where;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(expected[i]) && std::isnan(found[i])) continue;
    ASSERT_EQ(std::bit_cast<std::uint32_t>(expected[i]), std::bit_cast<std::uint32_t>(found[i]))
        << where << ", output " << i << ": " << expected[i] << " against " << found[i];
  }
}

inline constexpr unsigned kWarpWidths[] = {32, 64};

}  // namespace hearth::kernels
