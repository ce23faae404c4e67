#include "runtime/jinja/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "runtime/jinja/characters.h"

namespace hearth::runtime::jinja {
namespace {

std::string escaped_unit(unsigned unit) { return fmt::format("\\u{:04x}", unit); }

std::string escaped(char32_t code, bool ascii) {
  switch (code) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    default:
      break;
  }
  if (code < 0x20 || (ascii && code >= 0x7f && code < 0x10000 && code != 0x7f))
    return escaped_unit(code);
  if (ascii && code >= 0x10000)
    return escaped_unit(0xd800 + ((code - 0x10000) >> 10)) +
           escaped_unit(0xdc00 + ((code - 0x10000) & 0x3ff));
  return {};
}

class Writer {
 public:
  explicit Writer(const JsonStyle& style) : style_(style) {}

  void write(const Value& value) {
    if (value.is_none()) return out_.append("null");
    if (value.is_boolean()) return out_.append(value.truth() ? "true" : "false");
    if (value.is_integer()) return out_.append(fmt::format("{}", value.as_integer()));
    if (value.is_real()) return out_.append(number(value.as_real()));
    if (const Text* text = value.as_text()) return string(*text);
    if (value.as_list() != nullptr && !value.is_generator()) return array(*value.as_list());
    if (const Mapping* mapping = value.as_mapping()) return object(*mapping);
    throw_error(ErrorCode::kBadInput, "tojson: a value of type {} has no JSON form{}", value.kind(),
                value.is_undefined() ? " (" + value.as_undefined()->what + ")" : "");
  }
  Text take() { return std::move(out_); }

 private:
  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return real_text(value);
  }

  void string(const Text& text) {
    out_.append("\"");
    for (std::size_t at = 0; at < text.size();) {
      const Character c = character_at(text.view(), at);
      const std::string escape = escaped(c.code, style_.ascii);
      if (escape.empty())
        out_.append(text.part(at, c.bytes));
      else
        out_.append(text.part(at, c.bytes).derived(escape));
      at += c.bytes;
    }
    out_.append("\"");
  }

  void new_line() {
    if (!style_.indent) return;
    const auto width = std::clamp<std::int64_t>(*style_.indent, 0, 16);
    out_.append("\n" + std::string(static_cast<std::size_t>(width) * level_, ' '));
  }

  void array(const List& list) {
    if (list.items.empty()) return out_.append("[]");
    out_.append("[");
    ++level_;
    for (std::size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out_.append(style_.item_separator);
      new_line();
      write(list.items[i]);
    }
    --level_;
    new_line();
    out_.append("]");
  }

  void object(const Mapping& mapping) {
    if (mapping.entries.empty()) return out_.append("{}");
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : mapping.entries) entries.push_back(&entry);
    if (style_.sort_keys)
      std::stable_sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) {
        return compare(a->first, b->first).value_or(0) < 0;
      });
    out_.append("{");
    ++level_;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_.append(style_.item_separator);
      new_line();
      key(entries[i]->first);
      out_.append(style_.key_separator);
      write(entries[i]->second);
    }
    --level_;
    new_line();
    out_.append("}");
  }

  void key(const Value& name) {
    if (const Text* text = name.as_text()) return string(*text);
    if (name.as_list() != nullptr || name.as_mapping() != nullptr)
      throw_error(ErrorCode::kBadInput, "tojson: keys must be strings, not {}", name.kind());
    out_.append("\"");
    write(name);
    out_.append("\"");
  }

  const JsonStyle& style_;
  Text out_;
  std::size_t level_ = 0;
};

}  // namespace

Text to_json(const Value& value, const JsonStyle& style) {
  Writer writer(style);
  writer.write(value);
  return writer.take();
}

}  // namespace hearth::runtime::jinja
