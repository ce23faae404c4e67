// Heads of a step's rows on a device, into the cache of a layer and over it.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "runtime/blocks/cached_attention.h"
#include "runtime/gpu/device_step.h"
#include "runtime/rotary.h"

namespace hearth::runtime {

// Row r, head h at x[r × stride + h × the dim of the cache].
struct StoredHeads {
  const float* x = nullptr;
  std::uint64_t stride = 0;
  std::uint32_t heads = 0;
};

// At most three groups, none of which reads what another writes; those without heads are left out.
void record_turn(const DeviceStep& step, const RotaryPlace& rotary, float epsilon,
                 std::initializer_list<kernels::HeadGroup> groups);

// Rows are stored, and tiles encoded that rows of this step are the first to read in the format.
void record_store(const DeviceStep& step, LayerIndex layer, kernels::KvPart part,
                  const StoredHeads& heads);

// attend() of runtime/blocks/cached_attention.h.
void record_attend(const DeviceStep& step, LayerIndex layer, const AttentionShape& shape,
                   const RowQueries& queries, const RowResults& results);

}  // namespace hearth::runtime
