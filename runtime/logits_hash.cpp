#include "runtime/logits_hash.h"

#include <xxhash.h>

namespace hearth::runtime {

struct LogitsHash::State {
  XXH3_state_t* xxh = XXH3_createState();
  ~State() { XXH3_freeState(xxh); }
};

LogitsHash::LogitsHash() : state_(std::make_unique<State>()) { reset(); }
LogitsHash::~LogitsHash() = default;

void LogitsHash::reset() { XXH3_64bits_reset(state_->xxh); }

void LogitsHash::add(std::span<const float> logits) {
  XXH3_64bits_update(state_->xxh, logits.data(), logits.size_bytes());
}

std::uint64_t LogitsHash::value() const { return XXH3_64bits_digest(state_->xxh); }

}  // namespace hearth::runtime
