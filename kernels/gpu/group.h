// The rows of a chunk of a prompt, grouped by the experts that its router chose: what the products
// of a layer's experts are launched for, where a chunk has more rows than a step that is resolved
// (resolve.h). Nothing is decided here: where each expert lies was known before the chunk began.
#pragma once

#include <cstdint>

#include "kernels/gpu/expert_tables.h"
#include "kernels/gpu/product.h"
#include "kernels/gpu/resolve.h"

namespace hearth::kernels {

// An expert of a layer, and where its parts lie as in a slot.
struct GroupedExpert {
  const std::byte* at = nullptr;
  std::uint32_t expert = 0;

  bool operator==(const GroupedExpert&) const = default;
};

// Pairs (row, rank) get a place: those of expert 0, of expert 1 …, of each in the order of pairs.
// An id that is out of range has no place and counts as a fault; its result is `nothing`.
struct GroupTask {
  std::uint32_t rows = 0;
  std::uint32_t experts_used = 0;
  const std::uint16_t* ids = nullptr;  // [rows][experts_used]
  const float* weights = nullptr;      // likewise

  // Each expert of the layer once, in any order: job i is that of experts[i], in device memory.
  const GroupedExpert* experts = nullptr;
  std::uint32_t expert_count = 0;
  SlotLayout layout;

  // What is written, in device memory; jobs of experts that no row chose get no rows.
  ExpertJob* jobs = nullptr;        // [expert_count]
  std::uint32_t* x_rows = nullptr;  // [rows × experts_used], by place: ProductTask::x_rows
  float* x_weights = nullptr;       // likewise: ProductTask::x_weights
  const float** results = nullptr;  // [rows × experts_used], by pair: ExpertResults::results
  std::uint32_t* faults = nullptr;  // pairs that no router may choose are added; or null

  ResultRows outputs;              // where results will be, by place
  const float* nothing = nullptr;  // a row of zeros
};

}  // namespace hearth::kernels
