#include "runtime/host_runner.h"

#include <algorithm>

#include "runtime/model_needs.h"
#include "runtime/random_cache.h"

namespace hearth::runtime {

HostRunner::HostRunner(Engine& engine)
    : engine_(engine),
      memory_(engine.plan().ram.kv + engine.plan().ram.state + engine.plan().ram.scratch),
      kv_(engine.model().kv_layers(), engine.kv_formats(), engine.plan().context,
          engine.plan().batch, memory_),
      recurrent_(engine.model().recurrent_layers(), memory_),
      scratch_(scratch_shape_for(engine.model(), engine.plan().batch, engine.pool().threads()),
               memory_) {}

std::size_t HostRunner::rows_of_chunk(std::size_t left) const {
  return std::min<std::size_t>(engine_.plan().batch, left);
}

void HostRunner::run(const Chunk& chunk, LogitsSink sink) {
  Step step{.tokens = chunk.tokens,
            .position = chunk.position,
            .kernels = engine_.kernels(),
            .pool = engine_.pool(),
            .experts = engine_.experts(),
            .prefetcher = engine_.prefetcher(),
            .kv = kv_,
            .recurrent = recurrent_,
            .scratch = scratch_,
            .clock = engine_.clock(),
            .times = times_,
            .on_routed = chunk.on_routed,
            .forced_routing = chunk.forced_routing};
  decode_step(engine_.model(), step, chunk.first_logits_row, sink);
}

Bytes HostRunner::state_bytes(std::uint32_t position) const {
  Bytes total;
  visit(position, [&](std::span<std::byte> piece) { total += Bytes(piece.size()); });
  return total;
}

void HostRunner::save_state(std::uint32_t position,
                            FunctionRef<void(std::span<const std::byte>)> write) const {
  visit(position, [&](std::span<std::byte> piece) { write(piece); });
}

void HostRunner::load_state(std::uint32_t position, FunctionRef<void(std::span<std::byte>)> read) {
  visit(position, read);
}

void HostRunner::visit(std::uint32_t position,
                       FunctionRef<void(std::span<std::byte>)> visit) const {
  kv_.visit(position, visit);
  if (position > 0 && !recurrent_.empty()) visit(recurrent_.memory());
}

void HostRunner::fill_at_random(std::uint32_t positions, std::uint64_t seed) {
  const RandomCache random(engine_.model().kv_layers(), seed);
  for (std::uint32_t position = 0; position < positions;) {
    const std::uint32_t rows = std::min(engine_.plan().batch, positions - position);
    random.append(kv_, engine_.pool(), scratch_, position, rows);
    position += rows;
  }
}

}  // namespace hearth::runtime
