#include "runtime/jinja/methods.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "runtime/jinja/characters.h"
#include "runtime/jinja/formatting.h"
#include "runtime/jinja/interpreter.h"
#include "runtime/jinja/operators.h"

namespace hearth::runtime::jinja {
namespace {

bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_letter(char c) { return is_upper(c) || is_lower(c); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
char to_upper(char c) { return is_lower(c) ? static_cast<char>(c - 32) : c; }
char to_lower(char c) { return is_upper(c) ? static_cast<char>(c + 32) : c; }

Value stripped(const Text& text, ArgumentReader& in, Strip how) {
  const auto set = in.take("chars");
  if (set && !set->is_none()) {
    how.set = set->as_text();
    if (how.set == nullptr)
      throw_error(ErrorCode::kBadInput, "{} wants a string, not {}", in.function(), set->kind());
  }
  return Value::text(strip(text, how));
}

// Between white space; at most so many cuts.
std::vector<Value> words(const Text& text, std::size_t most) {
  std::vector<Value> parts;
  std::size_t begin = text.size();  // of a word that is not complete
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text.view(), at);
    const bool space = is_space(c.code), inside = begin < text.size();
    if (!space && !inside) {
      begin = at;
      if (parts.size() == most) {
        parts.push_back(Value::text(text.part(begin)));
        return parts;
      }
    } else if (space && inside) {
      parts.push_back(Value::text(text.part(begin, at - begin)));
      begin = text.size();
    }
    at += c.bytes;
  }
  if (begin < text.size()) parts.push_back(Value::text(text.part(begin)));
  return parts;
}

std::vector<Value> pieces(const Text& text, const Text& separator, std::size_t most) {
  if (separator.empty()) throw_error(ErrorCode::kBadInput, "split: the separator is empty");
  std::vector<Value> parts;
  std::size_t begin = 0;
  for (std::size_t at; parts.size() < most &&
                       (at = text.view().find(separator.view(), begin)) != std::string_view::npos;
       begin = at + separator.size())
    parts.push_back(Value::text(text.part(begin, at - begin)));
  parts.push_back(Value::text(text.part(begin)));
  return parts;
}

std::vector<Value> pieces_from_end(const Text& text, const Text& separator, std::size_t most) {
  if (separator.empty()) throw_error(ErrorCode::kBadInput, "rsplit: the separator is empty");
  std::vector<Value> parts;
  std::size_t end = text.size();
  while (parts.size() < most && end >= separator.size()) {
    const std::size_t at = text.view().rfind(separator.view(), end - separator.size());
    if (at == std::string_view::npos) break;
    parts.push_back(Value::text(text.part(at + separator.size(), end - at - separator.size())));
    end = at;
  }
  parts.push_back(Value::text(text.part(0, end)));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

Value split(const Text& text, ArgumentReader& in, bool from_end) {
  const Value separator = in.take("sep").value_or(Value::none());
  const std::int64_t count = in.integer("maxsplit", -1);
  const std::size_t most = count < 0 ? text.size() + 1 : static_cast<std::size_t>(count);
  if (separator.is_none()) {
    if (from_end && count >= 0)
      throw_error(ErrorCode::kBadInput, "rsplit with maxsplit wants a separator");
    return Value::list(words(text, most));
  }
  const Text* by = separator.as_text();
  if (by == nullptr)
    throw_error(ErrorCode::kBadInput, "split wants a string, not {}", separator.kind());
  return Value::list(from_end ? pieces_from_end(text, *by, most) : pieces(text, *by, most));
}

Value split_lines(const Text& text, ArgumentReader& in) {
  const bool keep_ends = in.boolean("keepends", false);
  std::vector<Value> lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text.view(), at);
    const std::size_t end = at;
    at += c.bytes;
    if (!is_line_end(c.code)) continue;
    if (c.code == '\r' && at < text.size() && text.view()[at] == '\n') ++at;
    lines.push_back(Value::text(text.part(begin, (keep_ends ? at : end) - begin)));
    begin = at;
  }
  if (begin < text.size()) lines.push_back(Value::text(text.part(begin)));
  return Value::list(std::move(lines));
}

// The argument is a string, or a tuple of which any may fit.
bool has_affix(const Text& text, ArgumentReader& in, bool at_end) {
  const Value affix = in.require("prefix");
  const auto fits = [&](const Value& one) {
    const Text* part = one.as_text();
    if (part == nullptr)
      throw_error(ErrorCode::kBadInput, "{} wants a string, not {}", in.function(), one.kind());
    return at_end ? text.view().ends_with(part->view()) : text.view().starts_with(part->view());
  };
  if (!affix.is_tuple()) return fits(affix);
  const std::vector<Value>& items = affix.as_list()->items;
  return std::any_of(items.begin(), items.end(), fits);
}

Value without_affix(const Text& text, ArgumentReader& in, bool at_end) {
  const Text affix = in.require_text("prefix");
  if (at_end && text.view().ends_with(affix.view()))
    return Value::text(text.part(0, text.size() - affix.size()));
  if (!at_end && text.view().starts_with(affix.view())) return Value::text(text.part(affix.size()));
  return Value::text(text);
}

// The place of a part, in characters; -1 where there is none.
Value found_at(const Text& text, ArgumentReader& in, bool from_end, bool must_exist) {
  const Text part = in.require_text("sub");
  const std::size_t at = from_end ? text.view().rfind(part.view()) : text.view().find(part.view());
  if (at != std::string_view::npos)
    return Value::integer(static_cast<std::int64_t>(character_count(text.view().substr(0, at))));
  if (must_exist) throw_error(ErrorCode::kBadInput, "index: the substring is not found");
  return Value::integer(-1);
}

Value occurrences(const Text& text, ArgumentReader& in) {
  const Text part = in.require_text("sub");
  if (part.empty())
    return Value::integer(static_cast<std::int64_t>(character_count(text.view())) + 1);
  std::int64_t count = 0;
  for (std::size_t at = text.view().find(part.view()); at != std::string_view::npos;
       at = text.view().find(part.view(), at + part.size()))
    ++count;
  return Value::integer(count);
}

bool all_are(const Text& text, bool (*test)(char)) {
  return !text.empty() && std::all_of(text.view().begin(), text.view().end(), test);
}

// As str.isupper: letters there are, and all of them are so.
bool is_in_case(const Text& text, bool (*wanted)(char), bool (*other)(char)) {
  return std::any_of(text.view().begin(), text.view().end(), wanted) &&
         std::none_of(text.view().begin(), text.view().end(), other);
}

bool is_white(const Text& text) { return !text.empty() && strip(text, {}).empty(); }

using TextMethod = Value (*)(const Text&, ArgumentReader&);
struct NamedTextMethod {
  std::string_view name;
  TextMethod call;
};

// Parts before, of and after the first (or last) occurrence of what is given.
Value partitioned(const Text& text, ArgumentReader& in, bool from_end) {
  const Text by = in.require_text("sep");
  if (by.empty()) throw_error(ErrorCode::kBadInput, "{}: the separator is empty", in.function());
  const std::size_t at = from_end ? text.view().rfind(by.view()) : text.view().find(by.view());
  std::vector<Text> parts = {text, Text(), Text()};
  if (at != std::string_view::npos)
    parts = {text.part(0, at), text.part(at, by.size()), text.part(at + by.size())};
  else if (from_end)
    std::swap(parts.front(), parts.back());
  return Value::tuple({Value::text(parts[0]), Value::text(parts[1]), Value::text(parts[2])});
}

Value replaced_as_asked(const Text& text, ArgumentReader& in) {
  const Text from = in.require_text("old"), to = in.require_text("new");
  return Value::text(replaced(text, from, to, in.integer("count", -1)));
}

bool is_alphanumeric(char c) { return is_letter(c) || is_digit(c); }

template <bool (*kTest)(char)>
Value all_of(const Text& text, ArgumentReader&) {
  return Value::boolean(all_are(text, kTest));
}

template <Text (*kChange)(const Text&)>
Value changed(const Text& text, ArgumentReader&) {
  return Value::text(kChange(text));
}

constexpr NamedTextMethod kTextMethods[] = {
    {"strip", [](const Text& text, ArgumentReader& in) { return stripped(text, in, {}); }},
    {"lstrip",
     [](const Text& text, ArgumentReader& in) { return stripped(text, in, {.right = false}); }},
    {"rstrip",
     [](const Text& text, ArgumentReader& in) { return stripped(text, in, {.left = false}); }},
    {"split", [](const Text& text, ArgumentReader& in) { return split(text, in, false); }},
    {"rsplit", [](const Text& text, ArgumentReader& in) { return split(text, in, true); }},
    {"partition",
     [](const Text& text, ArgumentReader& in) { return partitioned(text, in, false); }},
    {"rpartition",
     [](const Text& text, ArgumentReader& in) { return partitioned(text, in, true); }},
    {"splitlines", split_lines},
    {"startswith", [](const Text& text,
                      ArgumentReader& in) { return Value::boolean(has_affix(text, in, false)); }},
    {"endswith", [](const Text& text,
                    ArgumentReader& in) { return Value::boolean(has_affix(text, in, true)); }},
    {"removeprefix",
     [](const Text& text, ArgumentReader& in) { return without_affix(text, in, false); }},
    {"removesuffix",
     [](const Text& text, ArgumentReader& in) { return without_affix(text, in, true); }},
    {"replace", replaced_as_asked},
    {"format",
     [](const Text& text, ArgumentReader& in) {
       return Value::text(brace_formatted(text, in.take_rest()));
     }},
    {"upper", changed<upper_case>},
    {"lower", changed<lower_case>},
    {"title", changed<title_case>},
    {"capitalize", changed<capitalized>},
    {"find", [](const Text& text, ArgumentReader& in) { return found_at(text, in, false, false); }},
    {"rfind", [](const Text& text, ArgumentReader& in) { return found_at(text, in, true, false); }},
    {"index", [](const Text& text, ArgumentReader& in) { return found_at(text, in, false, true); }},
    {"count", occurrences},
    {"join",
     [](const Text& text, ArgumentReader& in) {
       return Value::text(joined(text, items_of(in.require("parts")), false));
     }},
    {"isdigit", all_of<is_digit>},
    {"isnumeric", all_of<is_digit>},
    {"isalpha", all_of<is_letter>},
    {"isalnum", all_of<is_alphanumeric>},
    {"isspace", [](const Text& text, ArgumentReader&) { return Value::boolean(is_white(text)); }},
    {"isupper",
     [](const Text& text, ArgumentReader&) {
       return Value::boolean(is_in_case(text, is_upper, is_lower));
     }},
    {"islower",
     [](const Text& text, ArgumentReader&) {
       return Value::boolean(is_in_case(text, is_lower, is_upper));
     }},
};

constexpr std::array<std::string_view, 4> kMappingMethods = {"items", "keys", "values", "get"};
constexpr std::array<std::string_view, 2> kListMethods = {"index", "count"};

Value call_mapping(const Mapping& mapping, ArgumentReader& in) {
  if (in.function() == "get") {
    const Value key = in.require("key");
    const Value otherwise = in.take("default").value_or(Value::none());
    const Value* found = mapping.find(key);
    return found != nullptr ? *found : otherwise;
  }
  std::vector<Value> all;
  for (const auto& [key, value] : mapping.entries)
    all.push_back(in.function() == "items"  ? Value::tuple({key, value})
                  : in.function() == "keys" ? key
                                            : value);
  return Value::list(std::move(all));
}

Value call_list(const List& list, ArgumentReader& in) {
  const Value wanted = in.require("value");
  std::int64_t count = 0;
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    if (!equal(list.items[i], wanted)) continue;
    if (in.function() == "index") return Value::integer(static_cast<std::int64_t>(i));
    ++count;
  }
  if (in.function() == "index") throw_error(ErrorCode::kBadInput, "index: it is not in the list");
  return Value::integer(count);
}

class BoundMethod final : public Callable {
 public:
  BoundMethod(Value object, std::string_view name) : object_(std::move(object)), name_(name) {}
  Value call(Interpreter& interpreter, CallArguments arguments) const override {
    interpreter.charge_for(object_);
    Value result = call_method(object_, name_, std::move(arguments));
    interpreter.charge_for(result);
    return result;
  }

 private:
  const Value object_;
  const std::string name_;
};

template <std::size_t kCount>
bool among(const std::array<std::string_view, kCount>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

const NamedTextMethod* text_method(std::string_view name) {
  for (const NamedTextMethod& method : kTextMethods)
    if (method.name == name) return &method;
  return nullptr;
}

}  // namespace

bool has_method(const Value& object, std::string_view name) {
  if (object.as_text() != nullptr) return text_method(name) != nullptr;
  if (object.as_mapping() != nullptr) return among(kMappingMethods, name);
  return object.as_list() != nullptr && !object.is_generator() && among(kListMethods, name);
}

Value call_method(const Value& object, std::string_view name, CallArguments arguments) {
  ArgumentReader in(name, std::move(arguments));
  const Text* text = object.as_text();
  const Mapping* mapping = object.as_mapping();
  Value result = text != nullptr      ? text_method(name)->call(*text, in)
                 : mapping != nullptr ? call_mapping(*mapping, in)
                                      : call_list(*object.as_list(), in);
  in.finish();
  return result;
}

Value bound_method(const Value& object, std::string_view name) {
  return Value::callable(std::make_shared<BoundMethod>(object, name));
}

Text replaced(const Text& text, const Text& from, const Text& to, std::int64_t count) {
  Text out;
  std::size_t at = 0;
  while (count != 0) {
    std::size_t found = text.view().find(from.view(), at);
    if (from.empty()) {  // before every character, and at the end
      found = at;
      if (at > text.size()) break;
    }
    if (found == std::string_view::npos) break;
    out.append(text.part(at, found - at));
    out.append(to);
    if (out.size() > kMaxWeight)
      throw_error(ErrorCode::kBadInput, "a value has more than {} bytes", kMaxWeight);
    --count;
    at = found + from.size();
    if (!from.empty()) continue;
    if (at == text.size()) break;
    const std::size_t bytes = character_at(text.view(), at).bytes;
    out.append(text.part(at, bytes));
    at += bytes;
  }
  if (at < text.size()) out.append(text.part(at));
  return out;
}

Text upper_case(const Text& text) { return text.each_byte(to_upper); }
Text lower_case(const Text& text) { return text.each_byte(to_lower); }

Text capitalized(const Text& text) {
  bool first = true;
  return text.each_byte(
      [&](char c) { return std::exchange(first, false) ? to_upper(c) : to_lower(c); });
}

Text title_case(const Text& text) {
  bool inside = false;
  return text.each_byte([&](char c) {
    const bool letter = is_letter(c) || static_cast<unsigned char>(c) >= 0x80;
    return std::exchange(inside, letter) ? to_lower(c) : to_upper(c);
  });
}

Text joined(const Text& separator, const std::vector<Value>& parts, bool convert) {
  Text out;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out.append(separator);
    if (!convert && parts[i].as_text() == nullptr)
      throw_error(ErrorCode::kBadInput, "join wants strings, not {}", parts[i].kind());
    out.append(to_text(parts[i]));
    if (out.size() > kMaxWeight)
      throw_error(ErrorCode::kBadInput, "a value has more than {} bytes", kMaxWeight);
  }
  return out;
}

}  // namespace hearth::runtime::jinja
