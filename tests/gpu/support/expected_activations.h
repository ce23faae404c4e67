// Activations as the scalar kernels quantize them, to compare a device's with.
#pragma once

#include <string>
#include <vector>

#include "kernels/activations.h"
#include "tests/gpu/support/test_device.h"

namespace hearth::kernels {

// A buffer of the host with the scalar kernel's answer.
class ExpectedActivations {
 public:
  ExpectedActivations(const std::vector<float>& x, std::uint32_t rows, std::uint32_t columns);
  Activations view() const { return buffer_.view(); }

 private:
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> memory_;
  ActivationBuffer buffer_;
};

// All of the rows up to their stride.
void expect_same_activations(const Activations& expected, const DeviceActivations& found,
                             const std::string& where);

}  // namespace hearth::kernels
