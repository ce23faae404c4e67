// A prompt on its way into a session, which takes minutes where experts come from afar: how far it
// is, on a terminal, and a way to give it up.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "base/ids.h"
#include "runtime/session.h"
#include "tools/hearth/terminal.h"

namespace hearth::tools {

// At most one for a session, which it must outlive. Conductor thread.
class PromptReader {
 public:
  PromptReader(runtime::Engine& engine, runtime::Session& session);
  PromptReader(const PromptReader&) = delete;
  PromptReader& operator=(const PromptReader&) = delete;

  // The logits after the last token, valid until the session's next step; empty where `stopped`
  // said so, which is asked between layers of a chunk, or where that would tear a recurrent state
  // between chunks. The session has then read some of the tokens. Throws what evaluate() does.
  std::span<const float> read(std::span<const TokenId> tokens,
                              const std::function<bool()>& stopped);

 private:
  struct Stopped {};
  std::span<const float> evaluate(std::span<const TokenId> tokens);
  void on_routed(const profiler::Routing& routing);
  void show(std::uint64_t done);

  runtime::Engine& engine_;
  runtime::Session& session_;
  const std::function<bool()>* stopped_ = nullptr;  // null: nothing is read
  std::uint32_t start_ = 0;                         // position of the first token
  std::uint64_t total_ = 0, done_ = 0, shown_ = 0;  // tokens
  Nanoseconds begin_{0};
  std::optional<Progress> progress_;
};

}  // namespace hearth::tools
