// The decisions of a prompt, made for many tokens at once, as if it had been generated one token at
// a time: what a replay needs that is to tell of decoding.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "profiler/routing_trace.h"

namespace hearth::tools {

class TokenByToken {
 public:
  using Sink = std::function<void(const profiler::Routing&)>;

  // `sink` gets a decision of one row for every layer of a token, then those of the next token.
  TokenByToken(const profiler::TraceHeader& header, Sink sink);

  // Every decision, in the order of the layers of the header. A step that breaks off is forgotten
  // when the next one begins.
  void add(const profiler::Routing& routing);

 private:
  void hand_out(std::uint32_t rows, std::uint32_t position);

  struct Layer {
    LayerIndex index = 0;
    std::vector<std::uint16_t> experts;  // [rows][top-k]
    std::vector<float> weights;          // likewise
  };
  const std::uint32_t experts_per_row_;
  Sink sink_;
  std::vector<Layer> layers_;
};

}  // namespace hearth::tools
