// Text to tokens and back, and conversations by the model's template.
#include <vector>

#include "api/handles.h"
#include "runtime/chat/chat_template.h"

namespace hearth::border {
namespace {

constexpr std::size_t kFirstChatOptions = offsetof(hearth_chat_options, no_generation_prompt) +
                                          sizeof(hearth_chat_options::no_generation_prompt);

void check_flags(std::int32_t flags) {
  if ((flags & ~(HEARTH_ADD_SPECIAL | HEARTH_PARSE_SPECIAL)) != 0)
    throw Misuse(HEARTH_ERROR_USAGE, "flags are {:#x}, of which some are unknown",
                 static_cast<std::uint32_t>(flags));
}

runtime::ChatTemplate chat_template(const runtime::Engine& engine, const hearth_chat_options& o) {
  if (o.template_source != nullptr && o.template_name != nullptr)
    throw Misuse(HEARTH_ERROR_USAGE, "template_name and template_source are both given; give one");
  if (o.template_source != nullptr)
    return {engine.tokenizer(), o.template_source, "template_source"};
  const char* const name = o.template_name == nullptr ? "" : o.template_name;
  if (const auto source = runtime::find_chat_template(engine.file().metadata(), name))
    return {engine.tokenizer(), *source, *name == '\0' ? engine.file().name() : name};
  throw Misuse(HEARTH_ERROR_BAD_INPUT,
               "the file has no chat template{}{}; give template_source, or one of {}",
               *name == '\0' ? "" : " ", printable(name), runtime::builtin_chat_templates());
}

std::vector<runtime::ChatMessage> messages_of(std::span<const hearth_chat_message> given) {
  std::vector<runtime::ChatMessage> messages;
  for (const hearth_chat_message& one : given)
    messages.push_back({.role = std::string(text(one.role, "the role of a message")),
                        .content = std::string(text(one.content, "the content of a message"))});
  return messages;
}

runtime::ChatOptions chat_options(const hearth_chat_options& o) {
  if (o.thinking < -1 || o.thinking > 1)
    throw Misuse(HEARTH_ERROR_USAGE, "thinking is {}; give -1, 0 or 1", o.thinking);
  runtime::ChatOptions options{.add_generation_prompt =
                                   !flag(o.no_generation_prompt, "no_generation_prompt")};
  if (o.thinking != 0) options.enable_thinking = o.thinking == 1;
  return options;
}

}  // namespace

std::string_view text(const char* given, const char* name) { return {&required(given, name)}; }

void check_tokens(std::span<const TokenId> tokens, const runtime::Engine& engine) {
  for (const TokenId token : tokens)
    if (token < 0 || static_cast<std::uint32_t>(token) >= engine.config().vocabulary)
      throw Misuse(HEARTH_ERROR_BAD_INPUT, "token {} is outside the vocabulary of {} tokens", token,
                   engine.config().vocabulary);
}

}  // namespace hearth::border

using namespace hearth::border;
using hearth::TokenId;

extern "C" {

hearth_status hearth_tokenize(const hearth_engine* engine, const char* text, size_t bytes,
                              int32_t flags, int32_t* tokens, size_t capacity, size_t* count) {
  return guarded([&] {
    const hearth::runtime::Tokenizer& tokenizer = required(engine, "engine").engine.tokenizer();
    required(count, "count");
    check_flags(flags);
    const auto given = table(text, bytes, "text");
    const std::vector<TokenId> all = tokenizer.encode(
        {given.data(), given.size()}, {.add_special = (flags & HEARTH_ADD_SPECIAL) != 0,
                                       .parse_special = (flags & HEARTH_PARSE_SPECIAL) != 0});
    copy_out<TokenId>(all, tokens, capacity, count);
  });
}

hearth_status hearth_detokenize(const hearth_engine* engine, const int32_t* tokens, size_t count,
                                int32_t flags, char* text, size_t capacity, size_t* bytes) {
  return guarded([&] {
    const hearth::runtime::Engine& loaded = required(engine, "engine").engine;
    required(bytes, "bytes");
    check_flags(flags);
    const auto given = table(tokens, count, "tokens");
    check_tokens(given, loaded);
    const std::string all = loaded.tokenizer().decode({given.begin(), given.end()},
                                                      (flags & HEARTH_PARSE_SPECIAL) != 0);
    copy_out<char>(all, text, capacity, bytes);
  });
}

hearth_status hearth_token_ends(const hearth_engine* engine, int32_t token, int32_t* ends) {
  return guarded([&] {
    const hearth::runtime::Engine& loaded = required(engine, "engine").engine;
    check_tokens({&token, 1}, loaded);
    required(ends, "ends") = loaded.tokenizer().is_end_of_generation(token) ? 1 : 0;
  });
}

hearth_status hearth_chat_prompt(const hearth_engine* engine, const hearth_chat_message* messages,
                                 size_t messages_count, const hearth_chat_options* options,
                                 int32_t* tokens, size_t capacity, size_t* count) {
  return guarded([&] {
    const hearth::runtime::Engine& loaded = required(engine, "engine").engine;
    required(count, "count");
    hearth_chat_options o{};
    if (options != nullptr) o = taken(options, kFirstChatOptions, "options");
    const auto given = messages_of(table(messages, messages_count, "messages"));
    const hearth::runtime::ChatPrompt prompt =
        chat_template(loaded, o).prompt(given, chat_options(o));
    copy_out<TokenId>(prompt.tokens, tokens, capacity, count);
  });
}
}
