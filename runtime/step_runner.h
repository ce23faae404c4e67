// What computes the steps of a session and keeps what they leave behind: keys and values, and what
// recurrent layers remember. The CPU (runtime/host_runner.h) or a device
// (runtime/gpu/device_runner.h); their logits are the same bits.
#pragma once

#include <cstdint>
#include <span>

#include "base/function_ref.h"
#include "base/ids.h"
#include "base/units.h"
#include "profiler/routing.h"
#include "runtime/decode_step.h"

namespace hearth::runtime {

// At most the plan's batch of tokens, which fit vocabulary and context.
struct Chunk {
  std::span<const TokenId> tokens;
  std::uint32_t position = 0;  // of the first
  std::uint32_t first_logits_row = 0;
  FunctionRef<void(const profiler::Routing&)> on_routed;
  const ForcedRouting* forced_routing = nullptr;
};

class StepRunner {
 public:
  virtual ~StepRunner() = default;

  // Tokens of the next chunk, where so many are left: at most the plan's batch.
  virtual std::size_t rows_of_chunk(std::size_t left) const = 0;
  // Logits of the rows from first_logits_row on go to the sink. Throws Error(kIo), Error(kNumerics)
  // and Error(kDevice); a recurrent state is then torn.
  virtual void run(const Chunk& chunk, LogitsSink sink) = 0;
  virtual void reset() = 0;  // recurrent layers, to what a new timeline begins with

  // As the functions of Session.
  virtual void fill_at_random(std::uint32_t positions, std::uint64_t seed) = 0;
  virtual Bytes state_bytes(std::uint32_t position) const = 0;
  virtual void save_state(std::uint32_t position,
                          FunctionRef<void(std::span<const std::byte>)> write) const = 0;
  virtual void load_state(std::uint32_t position, FunctionRef<void(std::span<std::byte>)> read) = 0;

  virtual std::span<const std::byte> memory() const = 0;  // of the host
  const StepTimes& times() const { return times_; }

 protected:
  StepTimes times_;
};

}  // namespace hearth::runtime
