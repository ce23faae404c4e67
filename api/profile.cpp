// Profiles: made, filled by sessions, kept in files.
#include "profiler/profile_toml.h"

#include <algorithm>
#include <vector>

#include "api/handles.h"
#include "runtime/model_identity.h"

namespace hearth::border {
namespace {

hearth_profile* handle_of(profiler::ExpertProfile profile) {
  auto handle = std::make_unique<hearth_profile>();
  handle->counting = std::make_shared<Counting>(Counting{std::move(profile), {}});
  return handle.release();
}

// What the session counted into so far goes on being counted into where this throws.
void begin_counting(hearth_session& session, hearth_profile& profile, const char* workload) {
  const std::string label = workload_of(workload);
  if (profile.counting->recorder && profile.counting != session.counting)
    throw Misuse(HEARTH_ERROR_STATE, "a session counts into this profile already; end that first");
  const runtime::Engine& engine = session.owner.engine;
  profiler::check_profile_of(profile.counting->counted, runtime::identity_of(engine.file()),
                             engine.model().experts.counts(), "the profile");
  session.stop_counting();
  profile.counting->recorder.emplace(profile.counting->counted, label);
  session.counting = profile.counting;
}

}  // namespace
}  // namespace hearth::border

using namespace hearth::border;

extern "C" {

hearth_status hearth_profile_make(const hearth_engine* engine, hearth_profile** profile) {
  return guarded([&] {
    const hearth::runtime::Engine& loaded = required(engine, "engine").engine;
    required(profile, "profile");
    *profile = handle_of(hearth::profiler::empty_profile(
        hearth::runtime::identity_of(loaded.file()), loaded.model().experts.counts()));
  });
}

hearth_status hearth_profile_load(const char* path, hearth_profile** profile) {
  return guarded([&] {
    required(profile, "profile");
    *profile = handle_of(hearth::profiler::load_profile(path_of(path, "path")));
  });
}

hearth_status hearth_profile_save(const hearth_profile* profile, const char* path) {
  return guarded([&] {
    const hearth::profiler::ExpertProfile now = required(profile, "profile").counting->now();
    hearth::profiler::save_profile(path_of(path, "path"), now);
  });
}

hearth_status hearth_profile_close(hearth_profile* profile) {
  delete profile;
  return HEARTH_OK;
}

hearth_status hearth_session_record(hearth_session* session, hearth_profile* profile,
                                    const char* workload) {
  return in_session(session, [&](hearth_session& s) {
    if (profile == nullptr)
      s.stop_counting();
    else
      begin_counting(s, *profile, workload);
  });
}

hearth_status hearth_profile_tokens(const hearth_profile* profile, uint64_t* tokens) {
  return guarded([&] {
    required(profile, "profile");
    required(tokens, "tokens") = profile->counting->now().tokens();
  });
}

hearth_status hearth_profile_uses(const hearth_profile* profile, uint32_t layer, uint64_t* uses,
                                  size_t capacity, size_t* count) {
  return guarded([&] {
    const hearth::profiler::ExpertProfile now = required(profile, "profile").counting->now();
    if (layer >= now.model.layers)
      throw Misuse(HEARTH_ERROR_USAGE, "layer {} is none of the model's {}", layer,
                   now.model.layers);
    std::vector<uint64_t> of_layer;
    if (const auto* found = now.layer(static_cast<hearth::LayerIndex>(layer)))
      for (const hearth::profiler::ExpertHistory& expert : found->experts)
        of_layer.push_back(expert.count);
    copy_out<uint64_t>(of_layer, uses, capacity, count);
  });
}
}
