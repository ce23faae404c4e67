// Profiles as TOML: readable, and refused when not exactly what was written.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "profiler/expert_profile.h"

namespace hearth::profiler {

inline constexpr int kProfileVersion = 1;
// A larger file is not read: 1000 layers of 1000 experts. That of 48 layers of 128 has less than
// half a megabyte.
inline constexpr Bytes kMostProfileBytes = 64 * kMiB;

// Where the profile of a model is by default: "<model>.profile.toml" beside it. Of a split model,
// "x-00001-of-00003.gguf", without the number: "x.gguf.profile.toml".
std::string profile_path_of(const std::string& model_path);

// The text of a profile. Its first line names format and version, its last line is a checksum of
// everything before it.
std::string to_toml(const ExpertProfile& profile);
// Throws Error(kBadFile) for what is no profile, is damaged, cut off or contradicts itself, and
// Error(kUnsupported) for a newer version. `name` appears in messages.
ExpertProfile parse_profile(std::string_view text, const std::string& name);
// The last line, for everything before it.
std::string checksum_line(std::string_view text);

ExpertProfile load_profile(const std::string& path);
void save_profile(const std::string& path, const ExpertProfile& profile);  // atomically

// Throws Error(kBadInput) naming the difference unless the profile is the model's. With the experts
// of each block it may be trusted to index by: layers and experts are then those of the model too.
void check_profile_of(const ExpertProfile& profile, const ModelIdentity& model,
                      const std::string& path);
void check_profile_of(const ExpertProfile& profile, const ModelIdentity& model,
                      const std::vector<std::uint32_t>& experts_of_layer, const std::string& path);

}  // namespace hearth::profiler
