#include "runtime/gpu/device_runner.h"

#include <algorithm>

#include "runtime/gpu/state_copies.h"

namespace hearth::runtime {

namespace {

// Others may have taken what the plan left for a session.
DeviceModel& with_room(Engine& engine) {
  DeviceModel& model = *engine.device_model();
  model.make_room(session_bytes(engine).device, "a session");
  return model;
}

}  // namespace

DeviceRunner::DeviceRunner(Engine& engine)
    : engine_(engine),
      decoder_(with_room(engine), DeviceDecoder::options(engine)),
      shortest_prefill_(
          DevicePrefill::shortest(engine.config(), engine.device_model()->lanes() != nullptr)) {
  if (engine.plan().batch > kMostDeviceRows) prefill_.emplace(decoder_, engine.plan().batch);
  decoder_.prepare();
  engine.device_model()->take_slots_back();
}

// What is no prefill goes in steps; a single token at the end of one would count as a generated
// one.
std::size_t DeviceRunner::rows_of_chunk(std::size_t left) const {
  const std::uint32_t batch = engine_.plan().batch;
  if (prefill_ && std::min<std::size_t>(batch, left) >= shortest_prefill_)
    return std::min<std::size_t>(batch, left);
  const std::uint32_t most = std::min(batch, kMostDeviceRows);
  if (left == most + 1 && most > 2) return most - 1;
  return std::min<std::size_t>(most, left);
}

void DeviceRunner::run(const Chunk& chunk, LogitsSink sink) {
  const Nanoseconds start = engine_.clock().now();
  decoder_.force_routing(chunk.forced_routing);
  if (chunk.tokens.size() > kMostDeviceRows)
    prefill_.value().run(chunk.tokens, chunk.position, chunk.first_logits_row, sink,
                         chunk.on_routed);
  else
    decoder_.decode(chunk.tokens, chunk.position, chunk.first_logits_row, sink, chunk.on_routed);
  times_.total += engine_.clock().now() - start;
}

void DeviceRunner::fill_at_random(std::uint32_t positions, std::uint64_t seed) {
  decoder_.fill_at_random(positions, seed);
}

Bytes DeviceRunner::state_bytes(std::uint32_t position) const {
  Bytes total;
  decoder_.visit_state(position, [&](std::span<std::byte> piece) { total += Bytes(piece.size()); });
  return total;
}

void DeviceRunner::save_state(std::uint32_t position,
                              FunctionRef<void(std::span<const std::byte>)> write) const {
  StateSaver saver(decoder_.device(), decoder_.stream(), write);
  decoder_.visit_state(position, [&](std::span<std::byte> piece) { saver.add(piece); });
  saver.finish();
}

void DeviceRunner::load_state(std::uint32_t position,
                              FunctionRef<void(std::span<std::byte>)> read) {
  decoder_.provide(position, 0);
  StateLoader loader(decoder_.device(), decoder_.stream(), state_bytes(position), read);
  decoder_.visit_state(position, [&](std::span<std::byte> piece) { loader.add(piece); });
  loader.finish();
}

}  // namespace hearth::runtime
