// Steps computed by the CPU, with all memory of a session in one arena of the host.
#pragma once

#include "io/arena.h"
#include "runtime/engine.h"
#include "runtime/kv_cache.h"
#include "runtime/recurrent_state.h"
#include "runtime/scratch.h"
#include "runtime/step_runner.h"

namespace hearth::runtime {

class HostRunner final : public StepRunner {
 public:
  explicit HostRunner(Engine& engine);  // which outlives it

  std::size_t rows_of_chunk(std::size_t left) const override;
  void run(const Chunk& chunk, LogitsSink sink) override;
  void reset() override { recurrent_.reset(); }
  void fill_at_random(std::uint32_t positions, std::uint64_t seed) override;
  Bytes state_bytes(std::uint32_t position) const override;
  void save_state(std::uint32_t position,
                  FunctionRef<void(std::span<const std::byte>)> write) const override;
  void load_state(std::uint32_t position, FunctionRef<void(std::span<std::byte>)> read) override;
  std::span<const std::byte> memory() const override { return memory_.bytes(); }

 private:
  void visit(std::uint32_t position, FunctionRef<void(std::span<std::byte>)> visit) const;

  Engine& engine_;
  io::Arena memory_;
  KvCache kv_;
  RecurrentState recurrent_;
  Scratch scratch_;
};

}  // namespace hearth::runtime
