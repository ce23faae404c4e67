// What the recurrent layers of one session remember: a matrix per head, and the newest inputs of a
// short convolution. Its size does not depend on the context, and unlike keys and values it cannot
// go back: there is only the newest.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/units.h"
#include "io/arena.h"

namespace hearth::runtime {

// Floats of one layer; 0: it has no recurrent state.
struct RecurrentLayer {
  std::uint64_t state = 0;   // kernels/delta_net.h: [heads][panels][key_dim][kDeltaPanel]
  std::uint64_t window = 0;  // [taps - 1][channels]
};

// Where those of a layer begin, in bytes, wherever the memory is.
struct RecurrentPlace {
  std::uint64_t state = 0;
  std::uint64_t window = 0;
};

class RecurrentState {
 public:
  static Bytes bytes_needed(std::span<const RecurrentLayer> layers);
  static std::vector<RecurrentPlace> places(std::span<const RecurrentLayer> layers);
  // The arena has what bytes_needed() says.
  RecurrentState(std::span<const RecurrentLayer> layers, io::Arena& arena);

  std::span<float> state(LayerIndex layer) const { return pieces_[layer].state; }
  std::span<float> window(LayerIndex layer) const { return pieces_[layer].window; }
  bool empty() const { return memory_.empty(); }
  // All layers, to be written and read as a whole.
  std::span<std::byte> memory() const { return memory_; }
  void reset();  // to what a new timeline begins with: zeros

 private:
  struct Piece {
    std::span<float> state, window;
  };
  std::vector<Piece> pieces_;
  std::span<std::byte> memory_;
};

}  // namespace hearth::runtime
