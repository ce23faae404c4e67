#include "runtime/jinja/methods.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "runtime/jinja/characters.h"
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
  const List* list = affix.as_list();
  if (list == nullptr || !list->tuple) return fits(affix);
  return std::any_of(list->items.begin(), list->items.end(), fits);
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

#define BY_TEXT [](const Text& text, ArgumentReader& in) -> Value
#define OF_TEXT [](const Text& text, ArgumentReader&) -> Value

constexpr std::array<NamedTextMethod, 27> kTextMethods = {
    {{"strip", BY_TEXT{return stripped(text, in, {});
}  // namespace
}  // namespace hearth::runtime::jinja
, {"lstrip", BY_TEXT{return stripped(text, in, {.right = false});
}
}
, {"rstrip", BY_TEXT{return stripped(text, in, {.left = false});
}
}
, {"split", BY_TEXT{return split(text, in, false);
}
}
, {"rsplit", BY_TEXT{return split(text, in, true);
}
}
, {"splitlines", BY_TEXT{return split_lines(text, in);
}
}
, {"startswith", BY_TEXT{return Value::boolean(has_affix(text, in, false));
}
}
, {"endswith", BY_TEXT{return Value::boolean(has_affix(text, in, true));
}
}
, {"removeprefix", BY_TEXT{return without_affix(text, in, false);
}
}
, {"removesuffix", BY_TEXT{return without_affix(text, in, true);
}
}
, {"replace", BY_TEXT{const Text from = in.require_text("old"), to = in.require_text("new");
return Value::text(replaced(text, from, to, in.integer("count", -1)));
}
}
, {"upper", OF_TEXT{return Value::text(upper_case(text));
}
}
, {"lower", OF_TEXT{return Value::text(lower_case(text));
}
}
, {"title", OF_TEXT{return Value::text(title_case(text));
}
}
, {"capitalize", OF_TEXT{return Value::text(capitalized(text));
}
}
, {"find", BY_TEXT{return found_at(text, in, false, false);
}
}
, {"rfind", BY_TEXT{return found_at(text, in, true, false);
}
}
, {"index", BY_TEXT{return found_at(text, in, false, true);
}
}
, {"count", BY_TEXT{return occurrences(text, in);
}
}
, {"join", BY_TEXT{return Value::text(joined(text, items_of(in.require("parts")), false));
}
}
, {"isdigit", OF_TEXT{return Value::boolean(all_are(text, is_digit));
}
}
, {"isalpha", OF_TEXT{return Value::boolean(all_are(text, is_letter));
}
}
, {"isalnum",
   OF_TEXT{return Value::boolean(all_are(text, [](char c) { return is_letter(c) || is_digit(c); }));
}
}
, {"isspace", OF_TEXT{return Value::boolean(is_white(text));
}
}
, {"isupper", OF_TEXT{return Value::boolean(is_in_case(text, is_upper, is_lower));
}
}
, {"islower", OF_TEXT{return Value::boolean(is_in_case(text, is_lower, is_upper));
}
}
, {"isnumeric", OF_TEXT{return Value::boolean(all_are(text, is_digit));
}
}
,
}
}
;

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
    all.push_back(in.function() == "items"  ? Value::list({key, value}, true)
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
    return call_method(object_, name_, std::move(arguments));
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
  return object.as_list() != nullptr && among(kListMethods, name);
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
