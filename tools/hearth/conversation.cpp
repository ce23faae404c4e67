#include "tools/hearth/conversation.h"

#include <algorithm>

#include "base/error.h"
#include "runtime/chat/reply_splitter.h"

namespace hearth::tools {

// What a reply has said so far.
class ReplyText {
 public:
  ReplyText(std::string_view prompt, const Conversation::Show& show)
      : splitter_(prompt, [this, &show](std::string_view text, bool thinking) {
          (thinking ? thoughts : answer) += text;
          show(text, thinking);
        }) {}

  std::string thoughts;
  std::string answer;

  void add(std::string_view piece, bool control) { splitter_.add(piece, control); }
  void finish() { splitter_.finish(); }

 private:
  runtime::ReplySplitter splitter_;
};

namespace {

std::string trimmed(std::string text) {
  const std::size_t begin = std::min(text.find_first_not_of(" \n"), text.size());
  text.erase(0, begin);
  text.erase(text.find_last_not_of(" \n") + 1);
  return text;
}

}  // namespace

Conversation::Conversation(runtime::Engine& engine, const runtime::ChatTemplate& chat_template,
                           const ConversationOptions& options)
    : engine_(engine),
      template_(chat_template),
      options_(options),
      session_(engine),
      reader_(engine, session_),
      seed_(runtime::Sampler(options.sampler, engine.config().vocabulary, 1).seed()) {
  read_.reserve(session_.context());
  clear();
}

void Conversation::clear() {
  messages_.clear();
  if (!options_.system.empty()) messages_.push_back({.role = "system", .content = options_.system});
}

bool Conversation::forget_reply() {
  if (!messages_.empty() && messages_.back().role == "assistant") messages_.pop_back();
  return !messages_.empty() && messages_.back().role == "user";
}

TurnEnd Conversation::say(const std::string& text, const Show& show,
                          const std::function<bool()>& stopped) {
  const std::vector<runtime::ChatMessage> before = messages_;
  messages_.push_back({.role = "user", .content = text});
  try {
    const TurnEnd end = reply(show, stopped);
    if (end == TurnEnd::kUnread) messages_ = before;
    return end;
  } catch (...) {
    messages_ = before;
    throw;
  }
}

TurnEnd Conversation::reply(const Show& show, const std::function<bool()>& stopped) {
  const runtime::ChatPrompt prompt = template_.prompt(messages_, options_.chat);
  if (prompt.tokens.empty())
    throw_error(ErrorCode::kBadInput,
                "the chat template makes nothing of this conversation; give another with "
                "--chat-template");
  figures_ = {};
  figures_.prompt_tokens = static_cast<std::uint32_t>(prompt.tokens.size());
  ReplyText text(prompt.text, show);
  const std::span<const float> logits = read(prompt.tokens, stopped);
  if (logits.empty()) return TurnEnd::kUnread;
  const TurnEnd end = generate(logits, text, stopped);
  text.finish();
  const bool thought = !text.thoughts.empty();  // then white space stands between the two
  messages_.push_back({.role = "assistant",
                       .content = thought ? trimmed(std::move(text.answer)) : text.answer,
                       .reasoning = trimmed(std::move(text.thoughts))});
  return end;
}

// Goes back to where the session's tokens differ, and reads the rest. At least the last token is
// read, for its logits. Where that was stopped, what was read is not read again.
std::span<const float> Conversation::read(const std::vector<TokenId>& tokens,
                                          const std::function<bool()>& stopped) {
  if (tokens.size() >= session_.context())
    throw_error(ErrorCode::kBadInput,
                "the conversation has {} tokens, but the context is {}; /clear it, or raise "
                "--ctx-size",
                tokens.size(), session_.context());
  const auto differ = std::mismatch(tokens.begin(), tokens.end() - 1, read_.begin(), read_.end());
  const auto same = static_cast<std::uint32_t>(differ.first - tokens.begin());
  if (session_.can_rewind(same))
    session_.rewind(same);
  else
    session_.reset();
  const std::uint32_t kept = session_.position();
  read_.resize(kept);
  const Nanoseconds begin = engine_.clock().now();
  const std::span<const float> logits = reader_.read(std::span(tokens).subspan(kept), stopped);
  read_.assign(tokens.begin(), tokens.begin() + session_.position());
  figures_.read_tokens = static_cast<std::uint32_t>(tokens.size()) - kept;
  figures_.prefill = engine_.clock().now() - begin;
  return logits;
}

TurnEnd Conversation::generate(std::span<const float> logits, ReplyText& text,
                               const std::function<bool()>& stopped) {
  const runtime::Tokenizer& tokenizer = engine_.tokenizer();
  runtime::SamplerOptions sampling = options_.sampler;
  sampling.seed = seed_++;
  runtime::Sampler sampler(sampling, engine_.config().vocabulary, session_.context());
  for (const TokenId token : read_) sampler.accept(token);
  figures_.begin = Moment::of(engine_, session_);
  TurnEnd end = TurnEnd::kLimit;
  while (options_.predict < 0 || figures_.generated_tokens < options_.predict) {
    const TokenId token = sampler.sample(logits);
    sampler.accept(token);
    figures_.generated_tokens += 1;
    if (tokenizer.is_end_of_generation(token)) {
      end = TurnEnd::kComplete;
      break;
    }
    text.add(tokenizer.piece(token, true), tokenizer.piece(token, false).empty());
    if (stopped()) {
      end = TurnEnd::kInterrupted;
      break;
    }
    if (session_.position() == session_.context()) {
      end = TurnEnd::kContextFull;
      break;
    }
    logits = session_.evaluate({&token, 1});
    read_.push_back(token);
  }
  figures_.end = Moment::of(engine_, session_);
  return end;
}

}  // namespace hearth::tools
