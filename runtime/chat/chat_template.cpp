#include "runtime/chat/chat_template.h"

#include <array>
#include <utility>

namespace hearth::runtime {
namespace {

using jinja::Value;

struct NamedTemplate {
  std::string_view name;
  std::string_view source;
};

constexpr std::array<NamedTemplate, 3> kBuiltIn = {{
    {"chatml",
     "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
     "message['content'] + '<|im_end|>\\n' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"},
    {"llama3",
     "{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + "
     "'<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
     "{% if add_generation_prompt %}"
     "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"},
    {"gemma",
     "{% for message in messages %}{{ '<start_of_turn>' + "
     "('model' if message['role'] == 'assistant' else 'user') + '\\n' + "
     "message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"},
}};

Value given(const std::string& text) { return Value::text(jinja::Text::given(text)); }

Value value_of(const ChatMessage& message) {
  std::vector<std::pair<Value, Value>> entries = {{Value::text("role"), given(message.role)},
                                                  {Value::text("content"), given(message.content)}};
  if (!message.reasoning.empty())
    entries.emplace_back(Value::text("reasoning_content"), given(message.reasoning));
  return Value::mapping(std::move(entries));
}

Value piece_of(const Tokenizer& tokenizer, std::optional<TokenId> id) {
  return Value::text(id ? tokenizer.piece(*id, true) : std::string_view());
}

}  // namespace

std::optional<std::string> find_chat_template(const io::GgufMetadata& metadata,
                                              std::string_view name) {
  std::string key = "tokenizer.chat_template";
  if (!name.empty()) key += "." + std::string(name);
  if (const auto source = metadata.string(key)) return std::string(*source);
  for (const NamedTemplate& built_in : kBuiltIn)
    if (built_in.name == name) return std::string(built_in.source);
  return std::nullopt;
}

std::string builtin_chat_templates() {
  std::string names;
  for (const NamedTemplate& built_in : kBuiltIn) {
    if (!names.empty()) names += ", ";
    names += built_in.name;
  }
  return names;
}

ChatTemplate::ChatTemplate(const Tokenizer& tokenizer, std::string_view source, std::string name)
    : tokenizer_(tokenizer), template_(source, std::move(name)) {}

jinja::Text ChatTemplate::render(const std::vector<ChatMessage>& messages,
                                 const ChatOptions& options) const {
  std::vector<Value> values;
  for (const ChatMessage& message : messages) values.push_back(value_of(message));
  jinja::Variables variables = {
      {"messages", Value::list(std::move(values))},
      {"add_generation_prompt", Value::boolean(options.add_generation_prompt)},
      {"tools", Value::none()},
      {"documents", Value::none()},
      {"bos_token", piece_of(tokenizer_, tokenizer_.bos())},
      {"eos_token", piece_of(tokenizer_, tokenizer_.eos())}};
  if (options.enable_thinking)
    variables.emplace_back("enable_thinking", Value::boolean(*options.enable_thinking));
  return template_.render(variables);
}

ChatPrompt ChatTemplate::prompt(const std::vector<ChatMessage>& messages,
                                const ChatOptions& options) const {
  const jinja::Text text = render(messages, options);
  ChatPrompt prompt{
      .text = text.bytes(),
      .tokens = tokenizer_.encode(text.view(), {.add_special = false, .plain = text.marks()})};
  // Templates that write no BOS leave it to the tokenizer.
  auto& tokens = prompt.tokens;
  const bool starts_with_bos = !tokens.empty() && tokenizer_.bos() == tokens.front();
  if (tokenizer_.adds_bos() && !starts_with_bos) tokens.insert(tokens.begin(), *tokenizer_.bos());
  return prompt;
}

}  // namespace hearth::runtime
