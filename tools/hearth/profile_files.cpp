#include "tools/hearth/profile_files.h"

#include <fmt/format.h>

#include <filesystem>

#include "base/error.h"
#include "base/small_file.h"
#include "profiler/profile_toml.h"
#include "tools/hearth/quantity.h"

namespace hearth::tools {

std::string profile_path(const std::string& argument) {
  return argument.ends_with(".gguf") ? profiler::profile_path_of(argument) : argument;
}

bool is_profile_there(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code unknown;
  const fs::file_status status = fs::status(path, unknown);
  if (!fs::exists(status)) return false;
  if (!fs::is_regular_file(status))
    throw_error(ErrorCode::kBadInput, "{}: is not a regular file; name a file to write",
                printable(path, 400));
  try {
    profiler::load_profile(path);
  } catch (const Error&) {
    throw_error(ErrorCode::kBadInput,
                "{}: is no profile, or not one that can be read, and would be lost; remove it, or "
                "name another with --output",
                printable(path, 400));
  }
  return true;
}

profiler::NamedProfile load_named_profile(const std::string& argument) {
  const std::string path = profile_path(argument);
  return {path, profiler::load_profile(path)};
}

std::vector<profiler::NamedProfile> load_named_profiles(const std::vector<std::string>& arguments) {
  std::vector<profiler::NamedProfile> profiles;
  for (const std::string& argument : arguments) profiles.push_back(load_named_profile(argument));
  return profiles;
}

std::vector<std::uint32_t> experts_of_layers(const profiler::TraceHeader& header) {
  std::vector<std::uint32_t> experts(header.model.layers);
  for (const profiler::TraceLayer& layer : header.layers) experts[layer.layer] = layer.experts;
  return experts;
}

profiler::ExpertProfile empty_profile_of(const profiler::TraceHeader& header) {
  return profiler::empty_profile(header.model, experts_of_layers(header));
}

std::string model_text(const profiler::ExpertProfile& profile) {
  const profiler::ModelIdentity& model = profile.model;
  return fmt::format("{}{}, {} layers with up to {} experts of which {} are used{}",
                     printable(model.architecture),
                     model.name.empty() ? "" : " " + printable(model.name), profile.layers.size(),
                     model.experts_per_layer, model.experts_used,
                     model.formats.empty() ? "" : ", " + printable(model.formats));
}

std::string workloads_text(const profiler::ExpertProfile& profile) {
  std::string text;
  for (const profiler::Workload& workload : profile.workloads) {
    text += fmt::format("{}{} tokens of {}", text.empty() ? "" : ", ",
                        format_grouped(workload.tokens), printable(workload.label));
    if (workload.generated > 0)
      text += fmt::format(" ({} generated)", format_grouped(workload.generated));
  }
  return text.empty() ? "nothing" : text;
}

void write_output(const std::string& path, const std::string& text) {
  if (path == "-")
    fmt::print("{}", text);
  else
    replace_file(path, text);
}

}  // namespace hearth::tools
