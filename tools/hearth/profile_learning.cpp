#include "tools/hearth/profile_learning.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "base/error.h"
#include "base/small_file.h"
#include "profiler/profile_toml.h"
#include "runtime/model_identity.h"
#include "runtime/trace_header.h"
#include "tools/hearth/profile_files.h"
#include "tools/hearth/quantity.h"

namespace hearth::tools {
namespace {

constexpr Nanoseconds kLeastPause = std::chrono::seconds(60);  // between two saves
constexpr int kPausePerSave = 500;  // so many times what the last one took, at least

std::uint64_t hash_of(const std::string& text) { return XXH3_64bits(text.data(), text.size()); }

// 0 where there is no file.
std::uint64_t hash_of_file(const std::string& path) {
  if (!std::filesystem::exists(path)) return 0;
  return hash_of(read_small_file(path, profiler::kMostProfileBytes));
}

profiler::ExpertProfile load_or_begin(const std::string& path, const runtime::Engine& engine,
                                      const std::string& workload) {
  const profiler::TraceHeader header =
      runtime::trace_header_of(engine.model(), runtime::identity_of(engine.file()), workload);
  if (!std::filesystem::exists(path)) return empty_profile_of(header);
  profiler::ExpertProfile profile = profiler::load_profile(path);
  profiler::check_profile_of(profile, header.model, experts_of_layers(header), path);
  return profile;
}

}  // namespace

ProfileLearning::ProfileLearning(const std::string& path, const runtime::Engine& engine,
                                 runtime::Session& session, const std::string& workload)
    : path_(path),
      clock_(engine.clock()),
      saved_hash_(hash_of_file(path)),
      recorder_(load_or_begin(path, engine, workload), workload),
      tokens_before_(recorder_.profile().tokens()),
      next_save_(clock_.now() + kLeastPause) {
  fmt::print(stderr, "learning  '{}' into {}, {}\n", printable(workload), printable(path_, 400),
             tokens_before_ == 0 ? std::string("a new profile")
                                 : fmt::format("after {} tokens", format_grouped(tokens_before_)));
  session.on_routed([this](const profiler::Routing& routing) { recorder_.observe(routing); });
}

bool ProfileLearning::changed_by_another() const { return hash_of_file(path_) != saved_hash_; }

void ProfileLearning::save() {
  if (given_up_) return;
  if (changed_by_another()) {
    given_up_ = true;
    fmt::print(stderr,
               "note      {} was changed by another program; what this run learns is not saved\n",
               printable(path_, 400));
    return;
  }
  const std::string text = profiler::to_toml(recorder_.profile());
  replace_file(path_, text);
  saved_hash_ = hash_of(text);
}

void ProfileLearning::save_when_due() {
  const Nanoseconds begin = clock_.now();
  if (begin < next_save_) return;
  save();
  const Nanoseconds end = clock_.now();
  next_save_ = end + std::max(kLeastPause, kPausePerSave * (end - begin));
}

void ProfileLearning::finish() {
  save();
  if (given_up_) return;
  fmt::print(stderr, "learned   {} tokens, {} in all, in {}\n",
             format_grouped(recorder_.profile().tokens() - tokens_before_),
             format_grouped(recorder_.profile().tokens()), printable(path_, 400));
}

}  // namespace hearth::tools
