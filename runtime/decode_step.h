// One pass of the model over the tokens of a step: a single token, or a chunk of a prompt.
#pragma once

#include "base/function_ref.h"
#include "runtime/model.h"
#include "runtime/step.h"

namespace hearth::runtime {

// Gets the logits of each wanted row, in order; the span is valid during the call.
using LogitsSink = FunctionRef<void(std::uint32_t row, std::span<const float> logits)>;

// Computes all rows, and the logits of rows [first_logits_row, rows).
// Throws Error(kIo) when an expert cannot be read and Error(kNumerics) for logits that are not
// finite.
void decode_step(const Model& model, Step& step, std::uint32_t first_logits_row, LogitsSink sink);

// Error(kNumerics) for the logits at a position.
[[noreturn]] void throw_not_finite(std::uint32_t position);

}  // namespace hearth::runtime
