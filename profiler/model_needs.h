// What a model needs and moves, to the byte: made by runtime/model_needs.h from the header of its
// file, consumed by the planner and the cost model.
#pragma once

#include <cstdint>
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

// Experts whose records take slots of the same size.
struct ExpertClass {
  Bytes slot;                 // bytes of one slot, alignment of reads included
  Bytes expert;               // bytes of one expert
  std::uint32_t experts = 0;  // in all layers together
};

// Scratch of a step of at most so many tokens.
struct BatchScratch {
  std::uint32_t batch = 0;
  Bytes bytes;
};

struct ModelNeeds {
  ModelIdentity model;
  std::uint32_t context_train = 0;
  std::uint32_t moe_layers = 0;

  // Memory.
  Bytes process;                             // code, tokenizer, tables, stacks: an upper bound
  Bytes dense;                               // arena of all weights that are not experts
  Bytes kv_per_token;                        // of all layers together, in the KV format asked for
  Bytes kv_alignment;                        // of its pieces, whatever the context
  Bytes state;                               // per session and independent of the context
  std::vector<BatchScratch> scratch;         // of the batch asked for, then smaller ones
  std::vector<ExpertClass> classes;          // by ascending slot
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
  Bytes kv(std::uint32_t context) const { return kv_per_token * context + kv_alignment; }
  ExpertSpace space() const { return {model.layers, model.experts_per_layer}; }
  std::vector<std::uint8_t> size_class_of() const;  // [space().size()]
};

}  // namespace hearth::profiler
