#include "runtime/recurrent_state.h"

#include <cstring>

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

std::vector<RecurrentPlace> RecurrentState::places(std::span<const RecurrentLayer> layers) {
  std::vector<RecurrentPlace> places;
  std::uint64_t end = 0;
  for (const RecurrentLayer& layer : layers) {
    places.push_back({.state = end, .window = end + padded(layer.state)});
    end += padded(layer.state) + padded(layer.window);
  }
  return places;
}

RecurrentState::RecurrentState(std::span<const RecurrentLayer> layers, io::Arena& arena) {
  memory_ = arena.take(bytes_needed(layers));
  const std::vector<RecurrentPlace> at = places(layers);
  const auto floats = [&](std::uint64_t offset, std::uint64_t count) {
    return std::span<float>{reinterpret_cast<float*>(memory_.data() + offset), count};
  };
  for (std::size_t layer = 0; layer < layers.size(); ++layer)
    pieces_.push_back({floats(at[layer].state, layers[layer].state),
                       floats(at[layer].window, layers[layer].window)});
  reset();
}

void RecurrentState::reset() {
  if (!memory_.empty()) std::memset(memory_.data(), 0, memory_.size());
}

}  // namespace hearth::runtime
