// Working memory of a session for one step, carved from one arena at load. Blocks state their needs
// while the model is built; nothing here grows with the length of the context.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "io/arena.h"
#include "kernels/activations.h"
#include "runtime/attention_scratch.h"
#include "runtime/experts/expert_work.h"

namespace hearth::runtime {

struct ScratchShape {
  std::uint32_t rows = 0;     // tokens of a step
  std::uint32_t threads = 1;  // workers with private tiles
  std::uint32_t embedding = 0;
  std::uint32_t projections = 0;       // floats per row of all projections of one block together
  std::uint32_t attention_width = 0;   // values per row that enter the last projection of one
  std::uint32_t attention_states = 0;  // floats per row that a chunk of attention leaves
  std::uint32_t key_dim = 0;           // of the largest head
  std::uint32_t value_dim = 0;
  std::uint32_t rope_dims = 0;  // of all rotary tables together
  std::uint32_t experts = 0;    // per layer
  std::uint32_t experts_used = 0;
  std::uint32_t expert_ff = 0;
  std::uint32_t router_selection = 0;  // experts of a router that chooses by other scores
  std::uint32_t tile_columns = 0;      // of what a worker gathers otherwise, beside experts
  std::uint32_t vocabulary = 0;
  std::uint32_t logit_rows = 1;  // rows of logits kept at once

  template <typename T>
  static void raise(T& field, T least) {
    field = std::max(field, least);
  }
};

// Rows gathered for one expert at a time, per worker.
inline constexpr std::uint32_t kExpertTileRows = 32;
// Rows of an output matrix computed by one task. Hidden chunks are quantized where they are made,
// so they are whole activation blocks.
inline constexpr std::uint32_t kExpertChunk = 64;
inline constexpr std::uint32_t kDownChunk = 128;

struct Scratch {
  static Bytes bytes_needed(const ScratchShape& shape);
  Scratch(const ScratchShape& shape, io::Arena& arena);

  ScratchShape shape;
  std::span<float> hidden;           // [rows][embedding], the residual stream
  kernels::ActivationBuffer normed;  // [rows][embedding]
  // Of attention: its projections, and its result. Of a dense network: gate and up, and the hidden
  // values.
  std::span<float> projected;               // [rows][projections]
  kernels::ActivationBuffer attended;       // [rows][attention_width]
  std::vector<AttentionScratch> attention;  // per worker
  // What chunks leave that are computed side by side [kMaxAttentionChunks][rows][attention_states].
  std::span<float> attention_states;
  std::span<float> block_out;    // [rows][embedding]
  std::span<float> rope_cosine;  // [rows][rope_dims / 2]
  std::span<float> rope_sine;
  std::span<float> router_scores;                // [rows][experts]
  std::span<float> router_selection;             // [router_selection], of one row
  std::span<std::uint16_t> expert_ids;           // [rows][experts_used]
  std::span<float> expert_weights;               // likewise
  kernels::ActivationBuffer expert_hidden;       // [rows × experts_used][expert_ff]
  std::span<float> expert_out;                   // [rows × experts_used][embedding]
  std::vector<kernels::ActivationBuffer> tiles;  // per worker [kExpertTileRows][most columns]
  std::vector<std::span<float>> tile_out;        // per worker [2][kExpertTileRows][kExpertChunk]
  // Pairs (row, rank) grouped by expert [rows × experts_used]: their rows and weights, by place,
  // and the place of each pair.
  std::span<std::uint32_t> pair_rows;
  std::span<float> pair_weights;
  std::span<std::uint32_t> pair_place;
  std::span<std::uint32_t> expert_place;  // [experts]: where an expert lies in expert_work
  ExpertWorkList expert_work;             // capacity [experts]
  std::vector<ExpertRows> ready_work;     // likewise
  std::span<float> logits;                // [logit_rows][vocabulary]
};

}  // namespace hearth::runtime
