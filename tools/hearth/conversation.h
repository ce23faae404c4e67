// A conversation with a model: messages, and the session that has read them.
//
// Each turn the template writes the whole conversation anew. Tokens that the session has read
// already stay there: only what follows the first difference is evaluated.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat/chat_template.h"
#include "runtime/sampler/sampler.h"
#include "runtime/session.h"
#include "tools/hearth/prompt_reader.h"
#include "tools/hearth/run_report.h"

namespace hearth::tools {

struct TurnFigures {
  std::uint32_t prompt_tokens = 0;  // of the whole conversation
  std::uint32_t read_tokens = 0;    // those that were evaluated for this turn
  std::uint32_t generated_tokens = 0;
  Nanoseconds prefill{0};
  Moment begin, end;  // of generating
};

// kUnread: stopped before there was a reply.
enum class TurnEnd { kComplete, kInterrupted, kUnread, kLimit, kContextFull };

struct ConversationOptions {
  std::string system;
  runtime::ChatOptions chat;
  runtime::SamplerOptions sampler;
  std::int64_t predict = -1;  // tokens of a reply; -1: until it ends or the context is full
};

class Conversation {
 public:
  using Show = std::function<void(std::string_view text, bool thinking)>;

  // What is passed as a reference is borrowed.
  Conversation(runtime::Engine& engine, const runtime::ChatTemplate& chat_template,
               const ConversationOptions& options);

  // Adds a message and lets the model reply, which goes to `show` as it comes; `stopped` is asked
  // between tokens. Where that throws, or is stopped before the reply, the conversation is as
  // before the message.
  TurnEnd say(const std::string& text, const Show& show, const std::function<bool()>& stopped);
  // The last reply again. False where there is nothing to reply to.
  bool forget_reply();
  TurnEnd reply(const Show& show, const std::function<bool()>& stopped);
  void clear();  // all but the system message

  const std::vector<runtime::ChatMessage>& messages() const { return messages_; }
  const TurnFigures& figures() const { return figures_; }  // of the last turn
  const runtime::Session& session() const { return session_; }

 private:
  std::span<const float> read(const std::vector<TokenId>& tokens,
                              const std::function<bool()>& stopped);
  TurnEnd generate(std::span<const float> logits, class ReplyText& text,
                   const std::function<bool()>& stopped);

  runtime::Engine& engine_;
  const runtime::ChatTemplate& template_;
  const ConversationOptions options_;
  runtime::Session session_;
  PromptReader reader_;
  std::uint64_t seed_;  // of the next reply
  std::vector<runtime::ChatMessage> messages_;
  std::vector<TokenId> read_;  // what the session has read
  TurnFigures figures_;
};

}  // namespace hearth::tools
