// What other programs route, counted into a profile.
#include <hearth/recording.h>

#include <string>
#include <vector>

#include "api/arguments.h"
#include "api/status.h"
#include "profiler/profile_toml.h"
#include "runtime/block_experts.h"
#include "runtime/engine.h"
#include "runtime/model_identity.h"

// The layers with experts, and which of them comes next in the step.
struct hearth_recording {
  hearth_recording(const hearth::profiler::ExpertProfile& empty, const std::string& workload)
      : layers(empty.layers), used(empty.model.experts_used), recorder(empty, workload) {}

  std::vector<hearth::profiler::LayerProfile> layers;
  std::uint32_t used = 0;
  hearth::profiler::ProfileRecorder recorder;
  std::size_t next = 0;        // of `layers`; 0: between two steps
  std::uint32_t position = 0;  // of the step that is under way
  std::uint32_t tokens = 0;
  std::uint64_t counted = 0;           // tokens of whole steps
  std::vector<std::uint16_t> experts;  // of one choice, narrowed
};

namespace hearth::border {
namespace {

constexpr std::uint32_t kMostChoices = 1 << 20;  // of a step in a layer; what is kept for them

profiler::ExpertProfile empty_profile_of(const std::string& path) {
  const io::GgufFile file = io::GgufFile::open(path, runtime::block_shape_of);
  profiler::ExpertProfile profile = profiler::empty_profile(
      runtime::identity_of(file), runtime::expert_counts(runtime::experts_of_blocks(file)));
  if (profile.layers.empty() || profile.model.experts_used == 0)
    throw_error(ErrorCode::kBadInput,
                "{}: the model has no routed experts that its file says the use of; record a "
                "mixture of experts",
                printable(path));
  return profile;
}

void check_order(const hearth_recording& recording, const hearth_choice& choice) {
  const LayerIndex expected = recording.layers[recording.next].layer;
  if (choice.layer != expected)
    throw Misuse(HEARTH_ERROR_STATE,
                 "layer {} was chosen in, but {} comes next; give all layers with experts, in "
                 "their order",
                 choice.layer, expected);
  if (recording.next > 0 &&
      (choice.position != recording.position || choice.tokens != recording.tokens))
    throw Misuse(HEARTH_ERROR_STATE,
                 "layer {} has {} tokens from position {}, but the step began with {} from {}",
                 choice.layer, choice.tokens, choice.position, recording.tokens,
                 recording.position);
}

// As the recorder has them, in the memory that the recording keeps for them.
std::span<const std::uint16_t> narrowed(hearth_recording& recording, const hearth_choice& choice) {
  if (choice.experts_used != recording.used)
    throw Misuse(HEARTH_ERROR_USAGE, "a token uses {} experts, but {} of this model",
                 choice.experts_used, recording.used);
  if (choice.tokens == 0 || choice.tokens > kMostChoices / recording.used)
    throw Misuse(HEARTH_ERROR_USAGE, "a step of {} tokens; give 1 to {} at a time", choice.tokens,
                 kMostChoices / recording.used);
  const std::int32_t* const given = &required(choice.experts, "choice->experts");
  const std::size_t count = std::size_t{choice.tokens} * recording.used;
  const std::size_t there = recording.layers[recording.next].experts.size();
  for (std::size_t i = 0; i < count; ++i) {
    if (given[i] < 0 || static_cast<std::size_t>(given[i]) >= there)
      throw Misuse(HEARTH_ERROR_USAGE, "layer {} has no expert {}, of {}", choice.layer, given[i],
                   there);
    recording.experts[i] = static_cast<std::uint16_t>(given[i]);
  }
  return std::span(recording.experts).first(count);
}

void observe(hearth_recording& recording, const hearth_choice& choice) {
  check_order(recording, choice);
  recording.recorder.observe({.layer = static_cast<LayerIndex>(choice.layer),
                              .rows = choice.tokens,
                              .experts_per_row = choice.experts_used,
                              .experts = narrowed(recording, choice),
                              .weights = {},
                              .position = choice.position});
  recording.position = choice.position;
  recording.tokens = choice.tokens;
  recording.next = (recording.next + 1) % recording.layers.size();
  if (recording.next == 0) recording.counted += choice.tokens;
}

}  // namespace
}  // namespace hearth::border

using namespace hearth::border;

extern "C" {

hearth_status hearth_recording_begin(const char* model_path, const char* workload,
                                     hearth_recording** recording) {
  return guarded([&] {
    hearth_recording*& begun = required(recording, "recording");
    const std::string label = workload_of(workload);
    const auto profile = empty_profile_of(path_of(model_path, "model_path"));
    auto made = std::make_unique<hearth_recording>(profile, label);
    made->experts.resize(kMostChoices);
    begun = made.release();
  });
}

hearth_status hearth_recording_observe(hearth_recording* recording, const hearth_choice* choice) {
  return guarded([&] {
    observe(required(recording, "recording"), taken(choice, sizeof(hearth_choice), "choice"));
  });
}

hearth_status hearth_recording_tokens(const hearth_recording* recording, uint64_t* tokens) {
  return guarded([&] { required(tokens, "tokens") = required(recording, "recording").counted; });
}

hearth_status hearth_recording_save(const hearth_recording* recording, const char* path) {
  return guarded([&] {
    const hearth_recording& r = required(recording, "recording");
    if (r.next != 0)
      throw Misuse(HEARTH_ERROR_STATE, "layer {} of the step has not been given yet",
                   r.layers[r.next].layer);
    hearth::profiler::save_profile(path_of(path, "path"), r.recorder.profile());
  });
}

hearth_status hearth_recording_close(hearth_recording* recording) {
  delete recording;
  return HEARTH_OK;
}
}
