// Steps computed by a device, which has all memory of a session.
#pragma once

#include "runtime/gpu/device_decoder.h"
#include "runtime/step_runner.h"

namespace hearth::runtime {

class DeviceRunner final : public StepRunner {
 public:
  // Of an engine that has a device. Throws Error(kBudget), Error(kDevice).
  explicit DeviceRunner(Engine& engine);

  void run(const Chunk& chunk, LogitsSink sink) override;
  void reset() override { decoder_.reset(); }
  void fill_at_random(std::uint32_t positions, std::uint64_t seed) override;
  void visit_state(std::uint32_t position,
                   FunctionRef<void(std::span<std::byte>)> visit) const override;
  std::span<const std::byte> memory() const override { return {}; }

 private:
  const Engine& engine_;
  DeviceDecoder decoder_;
};

}  // namespace hearth::runtime
