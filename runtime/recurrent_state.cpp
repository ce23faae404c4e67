#include "runtime/recurrent_state.h"

#include <cstring>

#include "base/check.h"

namespace hearth::runtime {
namespace {

std::uint64_t padded(std::uint64_t floats) {
  return round_up(floats * sizeof(float), io::Arena::kAlignment);
}

}  // namespace

Bytes RecurrentState::bytes_needed(std::span<const RecurrentLayer> layers) {
  std::uint64_t total = 0;
  for (const RecurrentLayer& layer : layers) total += padded(layer.state) + padded(layer.window);
  return Bytes(total);
}

RecurrentState::RecurrentState(std::span<const RecurrentLayer> layers, io::Arena& arena) {
  memory_ = arena.take(bytes_needed(layers));
  std::byte* at = memory_.data();
  const auto take = [&](std::uint64_t floats) {
    const std::span<float> piece{reinterpret_cast<float*>(at), floats};
    at += padded(floats);
    return piece;
  };
  for (const RecurrentLayer& layer : layers) {
    Piece& piece = pieces_.emplace_back();
    piece.state = take(layer.state);
    piece.window = take(layer.window);
  }
  CHECK(at == memory_.data() + memory_.size());
  reset();
}

void RecurrentState::reset() {
  if (!memory_.empty()) std::memset(memory_.data(), 0, memory_.size());
}

}  // namespace hearth::runtime
