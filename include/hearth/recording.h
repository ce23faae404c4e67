// Profiles of what other programs route: for runners with their own graph and kernels, and for
// models that libhearth does not run itself.
//
//   hearth_recording *recording;
//   hearth_recording_begin("model.gguf", "prose", &recording);
//   ...
//   hearth_recording_observe(recording, &choice);      for each step, for each layer with experts
//   ...
//   hearth_recording_save(recording, "model.gguf.profile.toml");
//   hearth_recording_close(recording);
//
// The file is a profile as `hearth profile record` writes it. Conventions: hearth/status.h. A
// recording is used by one thread at a time.
#pragma once

#include <hearth/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hearth_recording hearth_recording;

// What the router of one layer chose for the tokens of one step.
typedef struct hearth_choice {
  size_t size;
  uint32_t layer;          // the number in the names of its tensors: blk.<layer>.ffn_up_exps.weight
  uint32_t position;       // of the first token; one that does not follow begins another text
  uint32_t tokens;         // 1: it was generated; more: they are a part of a prompt
  uint32_t experts_used;   // by a token: <architecture>.expert_used_count
  const int32_t* experts;  // tokens times experts_used of them, by descending score in each token
} hearth_choice;

// An empty recording for the model of a GGUF file (of a split model: of its first part), of any
// architecture; only its header and a kilobyte of each tensor of experts are read. `workload`, a
// label of at most 64 bytes, says what kind of text will be recorded. BAD_INPUT for a model without
// experts.
HEARTH_API hearth_status hearth_recording_begin(const char* model_path, const char* workload,
                                                hearth_recording** recording);

// Counts. The layers with experts come in ascending order in each step, all of them, with the same
// position and tokens: anything else is HEARTH_ERROR_STATE, and an expert that the layer has not
// is HEARTH_ERROR_USAGE; in both cases nothing was counted. Allocates nothing.
HEARTH_API hearth_status hearth_recording_observe(hearth_recording* recording,
                                                  const hearth_choice* choice);

// Tokens of whole steps so far.
HEARTH_API hearth_status hearth_recording_tokens(const hearth_recording* recording,
                                                 uint64_t* tokens);

// Writes the profile, in place of a file that is there. The recording goes on.
// HEARTH_ERROR_STATE within a step.
HEARTH_API hearth_status hearth_recording_save(const hearth_recording* recording, const char* path);

HEARTH_API hearth_status hearth_recording_close(hearth_recording* recording);

#ifdef __cplusplus
}
#endif
