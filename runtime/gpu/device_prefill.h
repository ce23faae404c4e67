// Chunks of a prompt on a device: all rows of a chunk pass each layer together, by the products for
// many rows, so that a layer's experts are used once and not once for every few rows. The bits are
// those of steps of one row.
//
// A chunk is not captured: it is enqueued once, and the device needs far longer for its products
// than the host for its launches. The host waits at the end, and where experts are on disk.
#pragma once

#include <cstdint>
#include <span>

#include "base/ids.h"
#include "runtime/gpu/device_decoder.h"

namespace hearth::runtime {

// Of a chunk: what a launch has blocks for (a row each).
inline constexpr std::uint32_t kMostPrefillRows = 1 << 13;

// What a session of the engine's plan takes, steps and chunks.
struct SessionBytes {
  Bytes device;
  Bytes pinned;  // of the host
};
SessionBytes session_bytes(const Engine& engine);

class DevicePrefill {
 public:
  // Bytes beside those of the decoder, as they are taken.
  struct Plan {
    Bytes inputs;
    Bytes pinned;  // of the host
  };
  static Plan plan(const Model& model, std::uint32_t batch);
  // The fewest tokens that are worth a chunk; `streams`: slots may be fewer than experts.
  static std::uint32_t shortest(const ModelConfig& config, bool streams);

  // In the memory of a decoder, which outlives it; `batch` is that of its options, and of its
  // model's. Throws Error(kBudget).
  DevicePrefill(DeviceDecoder& decoder, std::uint32_t batch);

  // As DeviceDecoder::decode, of at most `batch` tokens. An error leaves nothing under way.
  void run(std::span<const TokenId> tokens, std::uint32_t position, std::uint32_t first_logits_row,
           LogitsSink sink, DeviceDecoder::RoutingSink on_routed);

 private:
  void finish() const;

  DeviceDecoder& decoder_;
  const std::uint32_t batch_;
  DeviceInputs inputs_;
};

}  // namespace hearth::runtime
