// Steps computed by a device, which has all memory of a session.
#pragma once

#include <optional>

#include "runtime/gpu/device_prefill.h"
#include "runtime/step_runner.h"

namespace hearth::runtime {

class DeviceRunner final : public StepRunner {
 public:
  // Of an engine that has a device. Throws Error(kBudget), Error(kDevice).
  explicit DeviceRunner(Engine& engine);

  std::size_t rows_of_chunk(std::size_t left) const override;
  void run(const Chunk& chunk, LogitsSink sink) override;
  void reset() override { decoder_.reset(); }
  void fill_at_random(std::uint32_t positions, std::uint64_t seed) override;
  Bytes state_bytes(std::uint32_t position) const override;
  void save_state(std::uint32_t position,
                  FunctionRef<void(std::span<const std::byte>)> write) const override;
  void load_state(std::uint32_t position, FunctionRef<void(std::span<std::byte>)> read) override;
  std::span<const std::byte> memory() const override { return {}; }

 private:
  const Engine& engine_;
  DeviceDecoder decoder_;
  std::optional<DevicePrefill> prefill_;  // where a batch is more than a step
  std::uint32_t shortest_prefill_;
};

}  // namespace hearth::runtime
