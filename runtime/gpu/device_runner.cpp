#include "runtime/gpu/device_runner.h"

#include "base/error.h"

namespace hearth::runtime {

DeviceRunner::DeviceRunner(Engine& engine)
    : engine_(engine),
      decoder_(*engine.device_model(),
               {.context = engine.plan().context, .formats = engine.kv_formats()}) {}

void DeviceRunner::run(const Chunk& chunk, LogitsSink sink) {
  const Nanoseconds start = engine_.clock().now();
  decoder_.force_routing(chunk.forced_routing);
  decoder_.decode(chunk.tokens, chunk.position, chunk.first_logits_row, sink, chunk.on_routed);
  times_.total += engine_.clock().now() - start;
}

void DeviceRunner::fill_at_random(std::uint32_t, std::uint64_t) {
  engine_.require_host("a cache that is filled at random");
}

void DeviceRunner::visit_state(std::uint32_t, FunctionRef<void(std::span<std::byte>)>) const {
  engine_.require_host("a session in a file");
}

}  // namespace hearth::runtime
