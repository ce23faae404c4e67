// Filters of strings and numbers.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "runtime/jinja/characters.h"
#include "runtime/jinja/filters.h"
#include "runtime/jinja/formatting.h"
#include "runtime/jinja/json.h"
#include "runtime/jinja/methods.h"
#include "runtime/jinja/operators.h"

namespace hearth::runtime::jinja {
namespace {

constexpr std::size_t kMaxSeparator = 16;  // of JSON: it is written many times

Value trim(Interpreter&, const Value& input, ArgumentReader& in) {
  const auto set = in.take("chars");
  if (!set || set->is_none()) return Value::text(strip(to_text(input), {}));
  const Text characters = to_text(*set);
  return Value::text(strip(to_text(input), {.set = &characters}));
}

Value replace(Interpreter& interpreter, const Value& input, ArgumentReader& in) {
  const Text from = in.text("old", ""), to = in.text("new", "");
  const Value count = in.take("count").value_or(Value::none());
  Text result = replaced(to_text(input), from, to, count.is_integer() ? count.as_integer() : -1);
  interpreter.charge_bytes(result.size());
  return Value::text(std::move(result));
}

Value to_json_filter(Interpreter&, const Value& input, ArgumentReader& in) {
  JsonStyle style;
  style.ascii = in.boolean("ensure_ascii", false);
  const Value indent = in.take("indent").value_or(Value::none());
  const Value separators = in.take("separators").value_or(Value::none());
  style.sort_keys = in.boolean("sort_keys", false);
  if (indent.is_integer()) {
    style.indent = indent.as_integer();
    style.item_separator = ",";
  } else if (!indent.is_none()) {
    throw_error(ErrorCode::kBadInput, "tojson wants an integer as 'indent', not {}", indent.kind());
  }
  if (const List* pair = separators.as_list(); pair != nullptr && pair->items.size() == 2) {
    style.item_separator = to_text(pair->items[0]).bytes();
    style.key_separator = to_text(pair->items[1]).bytes();
  } else if (!separators.is_none()) {
    throw_error(ErrorCode::kBadInput, "tojson wants two strings as 'separators'");
  }
  if (std::max(style.item_separator.size(), style.key_separator.size()) > kMaxSeparator)
    throw_error(ErrorCode::kBadInput, "tojson: a separator has more than {} bytes", kMaxSeparator);
  return Value::text(to_json(input, style));
}

// Lines but the first are moved to the right; empty ones only where `blank` is set.
Value indent(Interpreter& interpreter, const Value& input, ArgumentReader& in) {
  const Value width = in.take("width").value_or(Value::integer(4));
  const bool first = in.boolean("first", false), blank = in.boolean("blank", false);
  Text margin;
  if (const Text* text = width.as_text())
    margin = *text;
  else if (width.is_integer())
    margin.append(std::string(
        static_cast<std::size_t>(std::clamp<std::int64_t>(width.as_integer(), 0, 1024)), ' '));
  else
    throw_error(ErrorCode::kBadInput, "indent wants an integer or a string, not {}", width.kind());
  const Text text = to_text(input);
  Text out;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.view().find('\n', begin), text.size());
    const bool moves = begin == 0 ? first : blank || end > begin;
    if (moves) out.append(margin);
    out.append(text.part(begin, end + 1 - begin));
    interpreter.charge(1 + margin.size() / 64);
    if (out.size() > kMaxWeight)
      throw_error(ErrorCode::kBadInput, "a value has more than {} bytes", kMaxWeight);
    begin = end + 1;
  }
  return Value::text(std::move(out));
}

Value escape(Interpreter&, const Value& input, ArgumentReader&) {
  const Text text = to_text(input);
  Text out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    switch (text.view()[i]) {
      case '&':
        out.append("&amp;");
        break;
      case '<':
        out.append("&lt;");
        break;
      case '>':
        out.append("&gt;");
        break;
      case '"':
        out.append("&#34;");
        break;
      case '\'':
        out.append("&#39;");
        break;
      default:
        out.append(text.part(i, 1));
    }
  }
  return Value::text(std::move(out));
}

std::optional<double> parsed_real(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || result.ec != std::errc() || result.ptr != text.data() + text.size())
    return std::nullopt;
  return value;
}

std::optional<std::int64_t> truncated(double value) {
  if (!(std::fabs(value) < 9.2e18)) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

std::optional<std::int64_t> parsed_integer(std::string_view text, int base) {
  if (text.starts_with('+')) text.remove_prefix(1);
  if (base == 16 && (text.starts_with("0x") || text.starts_with("0X"))) text.remove_prefix(2);
  std::int64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (!text.empty() && result.ec == std::errc() && result.ptr == text.data() + text.size())
    return value;
  if (const auto real = parsed_real(text)) return truncated(*real);
  return std::nullopt;
}

Value to_integer(Interpreter&, const Value& input, ArgumentReader& in) {
  const Value otherwise = in.take("default").value_or(Value::integer(0));
  const std::int64_t base = in.integer("base", 10);
  if (base < 2 || base > 36)
    throw_error(ErrorCode::kBadInput, "int: the base is {}; it must be 2 to 36", base);
  std::optional<std::int64_t> value;
  if (input.is_integer()) value = input.as_integer();
  if (input.is_real()) value = truncated(input.as_real());
  if (const Text* text = input.as_text())
    value = parsed_integer(strip(*text, {}).view(), static_cast<int>(base));
  return value ? Value::integer(*value) : otherwise;
}

Value to_real(Interpreter&, const Value& input, ArgumentReader& in) {
  const Value otherwise = in.take("default").value_or(Value::real(0));
  if (input.is_number()) return Value::real(input.as_real());
  if (const Text* text = input.as_text())
    if (const auto value = parsed_real(strip(*text, {}).view())) return Value::real(*value);
  return otherwise;
}

double required_number(const Value& input, const ArgumentReader& in) {
  require_defined(input);
  if (input.is_number()) return input.as_real();
  throw_error(ErrorCode::kBadInput, "{} wants a number, not {}", in.function(), input.kind());
}

// "common" rounds halves to even, as Python's round does.
Value round_filter(Interpreter&, const Value& input, ArgumentReader& in) {
  const double value = required_number(input, in);
  const std::int64_t precision = in.integer("precision", 0);
  const std::string method = in.text("method", "common").bytes();
  if (method != "common" && method != "ceil" && method != "floor")
    throw_error(ErrorCode::kBadInput, "round: the method is '{}'; common, ceil or floor",
                printable(method));
  if (precision < -300 || precision > 300)
    throw_error(ErrorCode::kBadInput, "round: the precision is {}", precision);
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (method == "ceil") return Value::real(std::ceil(value * scale) / scale);
  if (method == "floor") return Value::real(std::floor(value * scale) / scale);
  if (precision < 0) return Value::real(std::nearbyint(value * scale) / scale);
  // Correctly rounded decimals, not those of a product that was rounded before.
  const std::string text = fmt::format("{:.{}f}", value, static_cast<int>(precision));
  return Value::real(parsed_real(text).value_or(value));
}

Value absolute(Interpreter&, const Value& input, ArgumentReader& in) {
  if (required_number(input, in) >= 0) return input;
  return negated(input);
}

// The filter begins words after fewer characters than the method title does.
Value title(Interpreter&, const Value& input, ArgumentReader&) {
  bool inside = false;
  const Text text = to_text(input);
  const Text lower = lower_case(text), upper = upper_case(text);
  Text out;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text.view(), at);
    const bool ends = is_space(c.code) ||
                      (c.code < 0x80 && std::string_view("-({[<").find(static_cast<char>(c.code)) !=
                                            std::string_view::npos);
    out.append((inside ? lower : upper).part(at, c.bytes));
    inside = !ends;
    at += c.bytes;
  }
  return Value::text(std::move(out));
}

Value format(Interpreter&, const Value& input, ArgumentReader& in) {
  CallArguments all = in.take_rest();
  if (!all.positional.empty() && !all.keywords.empty())
    throw_error(ErrorCode::kBadInput, "format takes values by position or by name, not both");
  if (all.keywords.empty())
    return Value::text(percent_formatted(to_text(input), Value::tuple(std::move(all.positional))));
  std::vector<std::pair<Value, Value>> named;
  for (auto& [name, value] : all.keywords) named.emplace_back(Value::text(name), std::move(value));
  return Value::text(percent_formatted(to_text(input), Value::mapping(std::move(named))));
}

constexpr Filter kFilters[] = {
    {"trim", trim},
    {"replace", replace},
    {"tojson", to_json_filter},
    {"indent", indent},
    {"escape", escape},
    {"e", escape},
    {"int", to_integer},
    {"float", to_real},
    {"round", round_filter},
    {"abs", absolute},
    {"format", format},
    {"string",
     [](Interpreter&, const Value& v, ArgumentReader&) { return Value::text(to_text(v)); }},
    {"safe", [](Interpreter&, const Value& v, ArgumentReader&) { return v; }, false},
    {"upper", [](Interpreter&, const Value& v,
                 ArgumentReader&) { return Value::text(upper_case(to_text(v))); }},
    {"lower", [](Interpreter&, const Value& v,
                 ArgumentReader&) { return Value::text(lower_case(to_text(v))); }},
    {"title", title},
    {"capitalize", [](Interpreter&, const Value& v,
                      ArgumentReader&) { return Value::text(capitalized(to_text(v))); }},
};

}  // namespace

std::span<const Filter> text_filters() { return kFilters; }

const Filter* find_filter(std::string_view name) {
  for (const auto& filters : {text_filters(), sequence_filters()})
    for (const Filter& filter : filters)
      if (filter.name == name) return &filter;
  return nullptr;
}

}  // namespace hearth::runtime::jinja
