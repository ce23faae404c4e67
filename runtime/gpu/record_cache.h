// Heads of a step's rows on a device, into the cache of a layer and over it.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "runtime/blocks/cached_attention.h"
#include "runtime/gpu/device_step.h"
#include "runtime/rotary.h"

namespace hearth::runtime {

// At most three groups, none of which reads what another writes; those without heads are left out.
// Keys and values are stored with them, at the positions of the step.
void record_turn(const DeviceStep& step, const RotaryPlace& rotary, float epsilon,
                 std::initializer_list<kernels::HeadGroup> groups);

// When all is stored: tiles that rows of this step are the first to read in the format.
void record_encode(const DeviceStep& step, LayerIndex layer, std::uint32_t heads);

// attend() of runtime/blocks/cached_attention.h, whose results are inputs of a product.
void record_attend(const DeviceStep& step, LayerIndex layer, const AttentionShape& shape,
                   const RowQueries& queries, const kernels::HeadResults& results,
                   const kernels::Ahead& ahead);

}  // namespace hearth::runtime
