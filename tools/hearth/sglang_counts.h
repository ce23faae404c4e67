// Counts per expert as SGLang reads them: --init-expert-location FILE.json.
#pragma once

#include <string>
#include <string_view>

#include "profiler/profile_counts.h"

namespace hearth::tools {

// {"logical_count": [[[...]]]}: samples (one), blocks of the model, experts. Zeros for a block
// without experts: SGLang counts num_hidden_layers, dense ones too.
std::string sglang_json(const profiler::ExpertProfile& profile);

// Also reads two dimensions (blocks, experts), and adds up several samples. Throws Error(kBadFile)
// for what has another form, and Error(kBadInput) for what does not fit the shape.
profiler::ExpertProfile import_sglang_json(std::string_view text, const std::string& name,
                                           profiler::ExpertProfile shape,
                                           const std::string& workload);

}  // namespace hearth::tools
