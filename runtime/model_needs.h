// What a model needs and moves, from the directory of its file: no weights are read.
#pragma once

#include <cstdint>

#include "io/gguf.h"
#include "profiler/model_needs.h"
#include "runtime/model.h"

namespace hearth::runtime {

struct NeedsInput {
  std::uint32_t batch = 1;  // tokens of a prefill step
  std::uint32_t threads = 1;
  std::uint64_t alignment = 1;  // of reads
  KvFormats kv;
};

profiler::ModelNeeds model_needs(const io::GgufFile& file, const Model& model,
                                 const NeedsInput& input);

// Scratch for `batch` tokens, as the needs count it.
ScratchShape scratch_shape_for(const Model& model, std::uint32_t batch, std::uint32_t threads);

}  // namespace hearth::runtime
