// Profiles as arguments: a profile, or the model that it lies beside.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "profiler/profile_merge.h"
#include "profiler/routing_trace.h"

namespace hearth::tools {

// The argument itself; of a model, "x.gguf", the profile beside it.
std::string profile_path(const std::string& argument);

// Whether one is there, for what will write it. Throws Error(kBadInput) where something else is,
// which would be lost.
bool is_profile_there(const std::string& path);

// Throws as load_profile() does. The name is that of the file.
profiler::NamedProfile load_named_profile(const std::string& argument);
std::vector<profiler::NamedProfile> load_named_profiles(const std::vector<std::string>& arguments);

// Of every block of the model, 0 where it has none.
std::vector<std::uint32_t> experts_of_layers(const profiler::TraceHeader& header);
// Without counts, in the shape of the model that the header describes.
profiler::ExpertProfile empty_profile_of(const profiler::TraceHeader& header);

// "qwen3moe tiny-moe, 7 layers with up to 32 experts of which 4 are used, Q4_K 80 %, Q6_K 20 %"
std::string model_text(const profiler::ExpertProfile& profile);
// "20,000 tokens of prose, 5,120 tokens of code (40 generated)"
std::string workloads_text(const profiler::ExpertProfile& profile);

// Text into a file, or to standard output where `path` is "-". An existing file is replaced. Throws
// Error(kIo).
void write_output(const std::string& path, const std::string& text);

}  // namespace hearth::tools
