// The header of a session file (runtime/session_file.h): whose session it is, and how large its
// parts are.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "profiler/model_identity.h"

namespace hearth::runtime {

struct SessionHeader {
  profiler::ModelIdentity model;
  std::string key_format, value_format;
  std::uint32_t kv_tail = 0;
  bool kv_rotated = true;
  std::uint32_t position = 0;    // as many tokens
  std::uint32_t vocabulary = 0;  // as many logits
  std::uint32_t experts = 0;
  std::uint64_t state_bytes = 0;
  std::uint64_t random = 0;
};

std::string to_toml(const SessionHeader& header);
// `name` appears in messages. Throws Error(kBadFile).
SessionHeader parse_session_header(std::string_view text, const std::string& name);

}  // namespace hearth::runtime
