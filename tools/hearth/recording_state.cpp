#include "tools/hearth/recording_state.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/small_file.h"
#include "profiler/profile_toml.h"

namespace hearth::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kVersion = 1;
constexpr Bytes kMostBytes = 2 * profiler::kMostProfileBytes;  // with its line ends escaped

}  // namespace

std::string recording_path_of(const std::string& profile_path) {
  return profile_path + ".recording";
}

void save_recording(const std::string& path, const RecordingState& state) {
  const Json json = {{"hearth_recording", kVersion},
                     {"fingerprint", state.fingerprint},
                     {"workload", state.workload},
                     {"chunks", state.chunks},
                     {"tokens", state.tokens},
                     {"all_tokens", state.all_tokens},
                     {"kept_rows", state.kept_rows},
                     {"replaces", state.replaces},
                     {"profile", profiler::to_toml(state.profile)}};
  replace_file(path, json.dump(0, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::optional<RecordingState> load_recording(const std::string& path) {
  if (!std::filesystem::exists(path)) return {};
  const std::string text = read_small_file(path, kMostBytes);
  try {
    const Json json = Json::parse(text);
    if (json.at("hearth_recording").get<int>() != kVersion)
      throw_error(ErrorCode::kUnsupported,
                  "{}: left by another version of hearth; begin anew with --restart", path);
    return RecordingState{
        .fingerprint = json.at("fingerprint"),
        .workload = json.at("workload"),
        .chunks = json.at("chunks"),
        .tokens = json.at("tokens"),
        .all_tokens = json.at("all_tokens"),
        .kept_rows = json.at("kept_rows"),
        .replaces = json.at("replaces"),
        .profile = profiler::parse_profile(json.at("profile").get<std::string>(), path)};
  } catch (const Json::exception&) {
    throw_error(ErrorCode::kBadFile, "{}: damaged; begin anew with --restart", path);
  }
}

}  // namespace hearth::tools
