// A session in a file: written at the end of one run, it goes on in another as if there had been
// no end, bit for bit, and with the same experts in memory.
//
//   start    "HEARTHSN", version, bytes of the header                              16 bytes
//   header   model, formats of keys and values, position, sampler, sizes of the    SessionHeader
//            parts below                                                           as text (TOML)
//   tokens   of the timeline                                                       4 bytes each
//   logits   after the last of them                                                f32
//   experts  that were in memory: layer, index                                     2 × 2 bytes each
//   state    keys, values, and what recurrent layers keep (Session::save_state)
//   check    XXH3 of all bytes before                                              8 bytes
//
// All numbers are little-endian. The file is replaced atomically. Whoever reads it trusts nothing:
// sizes are compared with the model's before anything is taken, and a session is only resumed once
// the check was right.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "runtime/session.h"

namespace hearth::runtime {

// What belongs to a timeline beside what Session holds.
struct Timeline {
  std::vector<TokenId> tokens;  // all that were evaluated
  std::vector<float> logits;    // after the last of them
  std::uint64_t random = 0;     // Sampler::random_state()
};

// timeline.tokens are session.position() tokens, at least one. Throws Error(kIo).
void save_session(const std::string& path, const Engine& engine, const Session& session,
                  const Timeline& timeline);

// Into a session that is new or was reset; the engine's experts become those of the file, as far as
// there are slots; where a device computes they stay where they are. Throws Error(kNotFound / kIo),
// Error(kBadFile) for a damaged file, and Error(kBadInput) for one of another model, other formats
// of keys and values, or a longer context. The session is then as after reset().
Timeline load_session(const std::string& path, Engine& engine, Session& session);

}  // namespace hearth::runtime
