#include "tests/gpu/support/test_device.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "kernels/gpu/backend.h"
#include "kernels/gpu/emulation/device.h"
#include "tests/gpu/support/one_device.h"

namespace hearth::kernels {
namespace {

// HEARTH_TEST_DEVICES=gpu leaves out the emulation, on which rows take long; 32 or 64 leaves of all
// devices the emulation with warps of so many lanes.
std::string_view wanted_devices() {
  const char* const wanted = std::getenv("HEARTH_TEST_DEVICES");
  return wanted != nullptr ? wanted : "";
}

// HEARTH_TEST_SEED: other orders of threads and blocks, which are counted on with every launch.
std::uint64_t first_seed(unsigned lanes) {
  const char* const wanted = std::getenv("HEARTH_TEST_SEED");
  return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : lanes;
}

[[noreturn]] void throw_none() {
  throw_error(ErrorCode::kDevice,
              "HEARTH_TEST_DEVICES={}, and there is no such device; unset it to test on the "
              "emulation",
              wanted_devices());
}

struct OpenDevices {
  OpenDevices() {
    const std::string_view wanted = wanted_devices();
    for (const unsigned lanes : {32u, 64u})
      if (wanted.empty() || wanted == std::to_string(lanes)) add_emulation(lanes);
    if (wanted.empty() || wanted == "gpu") add_gpus();
    if (list.empty()) throw_none();
  }
  void add_emulation(unsigned lanes) {
    add(fmt::format("emulated, {} lanes", lanes),
        std::make_unique<emulated::EmulatedDevice>(
            emulated::DeviceOptions{.lanes = lanes, .seed = first_seed(lanes)}),
        emulated_kernels());
  }
  void add_gpus() {
    for (const GpuBackend& backend : gpu_backends())
      for (const DeviceProperties& found : backend.find().devices)
        add(fmt::format("{} {}", backend.name, found.name), backend.open(found.ordinal),
            backend.kernels());
  }
  void add(std::string name, std::unique_ptr<Device> device, const GpuKernels& kernels) {
    streams.push_back(device->new_stream(StreamPriority::kNormal));
    list.push_back({std::move(name), device.get(), &kernels, streams.back().get()});
    devices.push_back(std::move(device));
  }

  std::vector<std::unique_ptr<Device>> devices;
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<TestDevice> list;
};

template <typename T>
std::span<const T> rows_of(const T* data, const Activations& x, std::uint32_t values_each) {
  return {data, std::size_t{x.rows} * x.stride / values_each};
}

}  // namespace

OneDevice::OneDevice(const emulated::DeviceOptions& of_emulation, DeviceKind kind) {
  if (kind == DeviceKind::kEmulated || wanted_devices() != "gpu") {
    device_ = std::make_unique<emulated::EmulatedDevice>(of_emulation);
    kernels_ = &emulated_kernels();
    return;
  }
  for (const GpuBackend& backend : gpu_backends())
    for (const DeviceProperties& found : backend.find().devices) {
      if (device_ != nullptr) return;
      device_ = backend.open(found.ordinal);
      kernels_ = &backend.kernels();
    }
  if (device_ == nullptr) throw_none();
}

emulated::EmulatedDevice& OneDevice::emulation() {
  auto* const device = dynamic_cast<emulated::EmulatedDevice*>(device_.get());
  CHECK(device != nullptr);
  return *device;
}

const std::vector<TestDevice>& test_devices() {
  static const OpenDevices open;
  return open.list;
}

DeviceArray<std::byte> on_device(const TestDevice& on, const WeightMatrix& w) {
  const std::size_t bytes = w.bytes();
  return {on, std::span(w.data, bytes), (4 - bytes % 4) % 4, kMatrixAlignment};
}

DeviceActivations::DeviceActivations(const TestDevice& on, const Activations& x)
    : values(on, rows_of(x.values, x, 1)),
      codes(on, rows_of(x.codes, x, 1)),
      scales(on, rows_of(x.scales, x, 32)),
      sums(on, rows_of(x.sums, x, 16)),
      rows_(x.rows),
      columns_(x.columns),
      stride_(x.stride) {}

DeviceActivations::DeviceActivations(const TestDevice& on, std::uint32_t rows,
                                     std::uint32_t columns)
    : values(on, rows * round_up(columns, kActivationPadding)),
      codes(on, values.size()),
      scales(on, values.size() / 32),
      sums(on, values.size() / 16),
      rows_(rows),
      columns_(columns),
      stride_(static_cast<std::uint32_t>(round_up(columns, kActivationPadding))) {}

Activations DeviceActivations::view() const {
  return {rows_, columns_, stride_, values.data(), codes.data(), scales.data(), sums.data()};
}

QuantizeTask::Destination DeviceActivations::destination() const {
  return {rows_, columns_, stride_, values.data(), codes.data(), scales.data(), sums.data()};
}

void expect_same_bits(std::span<const float> expected, std::span<const float> found,
                      const std::string& where) {
  ASSERT_EQ(expected.size(), found.size()) << where;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(expected[i]) && std::isnan(found[i])) continue;
    ASSERT_EQ(std::bit_cast<std::uint32_t>(expected[i]), std::bit_cast<std::uint32_t>(found[i]))
        << where << ", output " << i << ": " << expected[i] << " against " << found[i];
  }
}

}  // namespace hearth::kernels
