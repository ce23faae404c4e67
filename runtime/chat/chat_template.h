// A conversation as the tokens a model was trained on, by the chat template of its file.
//
// Control tokens come from the template alone: what a message holds is text, also where it spells
// one (runtime/jinja/text.h).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "io/gguf.h"
#include "runtime/jinja/template.h"
#include "runtime/tokenizer/tokenizer.h"

namespace hearth::runtime {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
  std::string reasoning = {};  // what an assistant thought before it answered
};

struct ChatOptions {
  bool add_generation_prompt = true;         // ends where the assistant is to begin
  std::optional<bool> enable_thinking = {};  // none: as the template has it
};

struct ChatPrompt {
  std::string text;
  std::vector<TokenId> tokens;
};

// `name` picks one: empty for tokenizer.chat_template, else tokenizer.chat_template.<name>, else a
// built-in one. Empty where there is no such template.
std::optional<std::string> find_chat_template(const io::GgufMetadata& metadata,
                                              std::string_view name);
std::string builtin_chat_templates();  // the names, separated by commas

class ChatTemplate {
 public:
  // `tokenizer` is borrowed. Throws Error(kBadFile) with the line of a mistake in the source.
  ChatTemplate(const Tokenizer& tokenizer, std::string_view source, std::string name);

  // With one BOS at the front, where the model wants one. Throws Error(kBadInput) where the
  // template refuses the messages.
  ChatPrompt prompt(const std::vector<ChatMessage>& messages, const ChatOptions& options) const;

 private:
  jinja::Text render(const std::vector<ChatMessage>& messages, const ChatOptions& options) const;

  const Tokenizer& tokenizer_;
  const jinja::Template template_;
};

}  // namespace hearth::runtime
