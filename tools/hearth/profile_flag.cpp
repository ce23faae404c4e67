#include "tools/hearth/profile_flag.h"

#include <cstdio>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "profiler/profile_toml.h"
#include "runtime/model_identity.h"
#include "tools/hearth/quantity.h"

namespace hearth::tools {
namespace {

std::shared_ptr<const profiler::ExpertProfile> load(const std::string& path,
                                                    const io::GgufFile& file,
                                                    const runtime::Model& model) {
  profiler::ExpertProfile profile = profiler::load_profile(path);
  profiler::check_profile_of(profile, runtime::identity_of(file), model.experts.counts(), path);
  return std::make_shared<const profiler::ExpertProfile>(std::move(profile));
}

}  // namespace

void ProfileFlag::add_to(CommandLine& line) {
  line.add({.names = "--profile",
            .value = "FILE|auto|off",
            .help = "what was learned of the routing; auto: MODEL.profile.toml, if it is there"},
           profile);
}

std::string ProfileFlag::path(const std::string& model_path) const {
  if (profile == "off") return {};
  return profile == "auto" ? profiler::profile_path_of(model_path) : profile;
}

std::shared_ptr<const profiler::ExpertProfile> ProfileFlag::find(
    const io::GgufFile& file, const runtime::Model& model, const std::string& model_path) const {
  const std::string path = this->path(model_path);
  if (path.empty()) return nullptr;
  if (profile != "auto") return load(path, file, model);
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return nullptr;
  try {
    return load(path, file, model);
  } catch (const Error& error) {
    fmt::print(stderr, "note      going on without the profile: {}\n", error.what());
    return nullptr;
  }
}

void print_profile(const runtime::Engine& engine, const std::string& path) {
  const profiler::ExpertProfile& profile = *engine.profile();
  std::string labels;
  for (const profiler::Workload& workload : profile.workloads)
    labels += fmt::format("{}{}", labels.empty() ? " of " : ", ", printable(workload.label));
  fmt::print(stderr, "profile   {}: {} tokens{}; {} experts ({}) loaded\n", printable(path),
             format_grouped(profile.tokens()), labels, engine.seed().size(),
             format_size(engine.seed_bytes()));
}

}  // namespace hearth::tools
