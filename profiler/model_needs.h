// What a model needs and moves, to the byte: made by runtime/model_needs.h from the header of its
// file, consumed by the planner and the cost model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/units.h"
#include "profiler/model_identity.h"
#include "profiler/residency.h"

namespace hearth::profiler {

struct FormatBytes {
  std::string format;  // "Q4_K"
  Bytes bytes;
};

// Experts that have equally many bytes: their slots have the same size, in each tier its own.
struct ExpertClass {
  Bytes slot;                 // bytes of one slot in RAM, alignment of reads included
  Bytes device_slot;          // and in the memory of a GPU
  Bytes expert;               // bytes of one expert
  std::uint32_t experts = 0;  // in all layers together
};

// Scratch of a step of at most so many tokens.
struct BatchScratch {
  std::uint32_t batch = 0;
  Bytes bytes;
};

// Keys, or values, in stored tiles of positions. Where their format is quantized the first
// positions may stay as they were, and a ring has the newest ones, both in tiles of 32. All layers
// together.
struct KvPieces {
  std::uint32_t tile = 32;  // positions
  std::uint32_t sink = 0;   // first positions, which are never in the format
  Bytes per_tile;           // in the format
  Bytes recent_per_tile;    // of sink and ring, 32 positions each; 0: there are none

  // Of a quantized format only complete tiles beyond the sink, which is then there in full.
  std::uint32_t tiles(std::uint32_t context) const;
  std::uint32_t sink_tiles() const { return sink / 32; }
  // Of the ring: what the rows of a step of `batch` tokens read as it was, and their own tiles.
  std::uint32_t recent_tiles(std::uint32_t context, std::uint32_t batch, std::uint32_t tail) const;
  Bytes bytes(std::uint32_t context, std::uint32_t batch, std::uint32_t tail) const;
};

struct KvNeeds {
  std::string key_format = "f16", value_format = "f16";
  std::uint32_t tail = 0;  // newest positions that are read as they were, at least
  bool rotated = true;     // what is quantized
  KvPieces keys, values;
  Bytes alignment;  // of the pieces, whatever the context

  Bytes bytes(std::uint32_t context, std::uint32_t batch) const;
  double bytes_read(std::uint32_t depth) const;  // by a token with so many positions before it
};

// What depends on how many tokens of a prompt pass a GPU at once.
struct GpuBatch {
  std::uint32_t batch = 0;
  Bytes kv;  // of the context asked for
  Bytes scratch;
  // Where not all experts are on the GPU: more scratch, and memory of the host.
  Bytes streaming;
  Bytes beside;
};

// What a session and the dense weights take of a GPU, to the byte.
struct GpuNeeds {
  Bytes dense;
  Bytes state;
  Bytes dense_of_host;            // what the host computes with, too
  std::vector<GpuBatch> batches;  // of the batch asked for, then smaller ones
};

struct ModelNeeds {
  ModelIdentity model;
  std::uint32_t context_train = 0;
  std::uint32_t moe_layers = 0;

  // Memory.
  Bytes process;                             // code, tokenizer, tables, stacks: an upper bound
  Bytes dense;                               // arena of all weights that are not experts
  KvNeeds kv;                                // in the formats asked for
  Bytes state;                               // per session and independent of the context
  std::vector<BatchScratch> scratch;         // of the batch asked for, then smaller ones
  std::optional<GpuNeeds> gpu;               // of a GPU that is here; else as in RAM
  std::vector<ExpertClass> classes;          // by ascending expert
  std::vector<std::uint8_t> class_of_layer;  // Residency::kNoClass where a layer has no experts
  std::vector<std::uint32_t> experts_of_layer;
  std::uint64_t expert_weights = 0;  // values of all experts, for bits per weight

  // Traffic of one decoded token.
  std::vector<FormatBytes> dense_read;   // by weight format, output matrix included
  std::vector<FormatBytes> expert_read;  // of the top-k experts of all layers
  // Of dense_read: what is read before the first router, and the output matrix. While these are
  // computed no expert is known that could be read from disk.
  std::vector<FormatBytes> serial_read;

  std::uint32_t experts() const;  // in all layers
  std::uint32_t cycle() const { return moe_layers * model.experts_used; }
  Bytes expert_bytes() const;
  Bytes device_bytes(const std::vector<std::uint32_t>& slots_of_class) const;
  ExpertSpace space() const { return {model.layers, model.experts_per_layer}; }
  std::vector<std::uint8_t> size_class_of() const;  // [space().size()]
};

}  // namespace hearth::profiler
