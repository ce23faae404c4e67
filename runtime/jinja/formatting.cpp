#include "runtime/jinja/formatting.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "runtime/jinja/characters.h"
#include "runtime/jinja/operators.h"

namespace hearth::runtime::jinja {
namespace {

constexpr std::string_view kAlignments = "<>=^";
constexpr std::int64_t kMaxPrecision = 500;  // beyond it all digits of a double are there

// [[fill]align][sign][#][0][width][grouping][.precision][type]
struct Specification {
  Text fill = Text(" ");
  char align = 0;  // of kAlignments; 0: as the type has it
  char sign = '-';
  bool alternate = false;
  char grouping = 0;  // , or _
  std::size_t width = 0;
  std::optional<std::size_t> precision;
  char type = 0;
};

[[noreturn]] void unsuitable(const Specification& how, const Value& value) {
  throw_error(ErrorCode::kBadInput, "a format of type '{}' cannot write a value of type {}",
              printable(std::string_view(&how.type, how.type != 0)), value.kind());
}

void check_size(const Text& out) {
  if (out.size() > kMaxWeight)
    throw_error(ErrorCode::kBadInput, "a value has more than {} bytes", kMaxWeight);
}

// Reads a format from its start.
class FormatReader {
 public:
  explicit FormatReader(const Text& text) : text_(text) {}

  bool at_end() const { return at_ == text_.size(); }
  std::size_t at() const { return at_; }
  char current() const { return at_end() ? '\0' : text_.view()[at_]; }
  char next() { return text_.view()[at_++]; }
  bool skip(char c) { return current() == c && !at_end() && (++at_, true); }
  Text part(std::size_t begin, std::size_t end) const { return text_.part(begin, end - begin); }

  // Text up to one of `ends`, or to the end.
  Text until(std::string_view ends) {
    const std::size_t begin = at_;
    at_ = std::min(text_.view().find_first_of(ends, at_), text_.size());
    return part(begin, at_);
  }
  std::optional<std::size_t> number() {
    if (current() < '0' || current() > '9') return std::nullopt;
    std::size_t value = 0;
    while (current() >= '0' && current() <= '9') {
      value = value * 10 + static_cast<std::size_t>(next() - '0');
      if (value > kMaxWeight)
        throw_error(ErrorCode::kBadInput, "a format has a width of more than {}", kMaxWeight);
    }
    return value;
  }
  // A character of `set`, or 0.
  char one_of(std::string_view set) {
    return !at_end() && set.find(current()) != set.npos ? next() : '\0';
  }
  Text character() {
    const std::size_t begin = at_;
    at_ += character_at(text_.view(), at_).bytes;
    return part(begin, at_);
  }

 private:
  const Text& text_;
  std::size_t at_ = 0;
};

void read_precision(FormatReader& in, Specification& how) {
  if (!in.skip('.')) return;
  how.precision = in.number();
  if (!how.precision) throw_error(ErrorCode::kBadInput, "a format has a point without a precision");
}

Specification parse_specification(const Text& text) {
  Specification how;
  FormatReader in(text);
  const std::size_t first = text.empty() ? 0 : character_at(text.view(), 0).bytes;
  const bool filled =
      first < text.size() && kAlignments.find(text.view()[first]) != std::string_view::npos;
  if (filled) how.fill = in.character();
  how.align = in.one_of(kAlignments);
  if (const char sign = in.one_of("+- ")) how.sign = sign;
  how.alternate = in.skip('#');
  if (in.skip('0')) {
    if (!filled) how.fill = Text("0");
    if (how.align == 0) how.align = '=';
  }
  how.width = in.number().value_or(0);
  how.grouping = in.one_of(",_");
  read_precision(in, how);
  how.type = in.one_of("bdeEfFgGosxX%");
  if (!in.at_end()) throw_error(ErrorCode::kBadInput, "'{}' is no format", printable(text.view()));
  return how;
}

// `sign` stands before the filling where that is asked for.
Text padded(const Text& body, std::string_view sign, const Specification& how, char usual) {
  const std::size_t length = character_count(body.view()) + sign.size();
  const std::size_t missing = how.width > length ? how.width - length : 0;
  const char align = how.align != 0 ? how.align : usual;
  const std::size_t before = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  Text out;
  if (align == '=') out.append(sign);
  for (std::size_t i = 0; i < before; ++i) out.append(how.fill);
  if (align != '=') out.append(sign);
  out.append(body);
  for (std::size_t i = before; i < missing; ++i) out.append(how.fill);
  check_size(out);
  return out;
}

// Marks between every `size` digits of the whole part; zeros that fill the width take part.
std::string grouped(std::string digits, const Specification& how) {
  if (how.grouping == 0) return digits;
  const bool binary = how.type == 'b' || how.type == 'o' || how.type == 'x' || how.type == 'X';
  const std::size_t size = binary ? 4 : 3;
  const std::size_t whole = std::min(digits.find_first_of(".e%"), digits.size());
  for (std::size_t i = whole; i > size;) digits.insert(i -= size, 1, how.grouping);
  return digits;
}

Text number_text(bool negative, std::string digits, std::string_view prefix,
                 const Specification& how) {
  std::string sign = negative ? "-" : how.sign == '-' ? "" : std::string(1, how.sign);
  sign += prefix;
  if (how.grouping != 0 && how.align == '=' && how.fill.view() == "0")
    throw_error(ErrorCode::kBadInput, "a format cannot fill with zeros and group digits");
  return padded(Text(grouped(std::move(digits), how)), sign, how, '>');
}

Text integer_text(std::int64_t value, const Specification& how) {
  const bool negative = value < 0;
  const std::uint64_t size =
      negative ? -static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
  switch (how.type) {
    case 'b':
      return number_text(negative, fmt::format("{:b}", size), how.alternate ? "0b" : "", how);
    case 'o':
      return number_text(negative, fmt::format("{:o}", size), how.alternate ? "0o" : "", how);
    case 'x':
      return number_text(negative, fmt::format("{:x}", size), how.alternate ? "0x" : "", how);
    case 'X':
      return number_text(negative, fmt::format("{:X}", size), how.alternate ? "0X" : "", how);
    default:
      return number_text(negative, fmt::format("{}", size), "", how);
  }
}

// Without a type: as 'g', but never without a point or an exponent.
std::string general_text(double size, std::size_t precision) {
  const std::size_t digits = std::max<std::size_t>(precision, 1);
  std::string text = fmt::format("{:.{}e}", size, digits - 1);
  const std::size_t e = text.find('e');
  const int exponent = std::stoi(text.substr(e + 1));
  std::string tail;
  if (exponent >= -4 && exponent < static_cast<int>(digits) - 1)
    text = fmt::format("{:.{}f}", size, static_cast<int>(digits) - 1 - exponent);
  else
    tail = text.substr(e), text.resize(e);
  if (text.find('.') != text.npos) text.resize(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) tail.empty() ? text += '0' : (text.pop_back(), text);
  return text + tail;
}

Text real_text(double value, const Specification& how) {
  const double size = std::fabs(value);
  const auto precision = static_cast<int>(how.precision.value_or(6));
  if (precision > kMaxPrecision)
    throw_error(ErrorCode::kBadInput, "a format has a precision of more than {}", kMaxPrecision);
  std::string digits;
  switch (how.type) {
    case 'e':
      digits = fmt::format("{:.{}e}", size, precision);
      break;
    case 'E':
      digits = fmt::format("{:.{}E}", size, precision);
      break;
    case 'f':
    case 'F':
      digits = fmt::format("{:.{}f}", size, precision);
      break;
    case 'g':
      digits = fmt::format("{:.{}g}", size, precision);
      break;
    case 'G':
      digits = fmt::format("{:.{}G}", size, precision);
      break;
    case '%':
      digits = fmt::format("{:.{}f}%", size * 100, precision);
      break;
    default:
      digits = how.precision && std::isfinite(size) ? general_text(size, *how.precision)
                                                    : jinja::real_text(size);
  }
  return number_text(std::signbit(value) && !std::isnan(value), std::move(digits), "", how);
}

Text text_text(const Text& text, Specification how) {
  if (how.align == '=' && how.fill.view() == "0") how.align = '<';  // the flag 0
  if (how.align == '=' || how.sign != '-' || how.alternate || how.grouping != 0)
    throw_error(ErrorCode::kBadInput, "a format for numbers is applied to a string");
  if (!how.precision) return padded(text, "", how, '<');
  const std::vector<std::size_t> starts = character_starts(text.view());
  const std::size_t kept = std::min(*how.precision, starts.size() - 1);
  return padded(text.part(0, starts[kept]), "", how, '<');
}

// format(value, specification)
Text with_specification(const Value& value, const Specification& how) {
  const bool for_real =
      how.type != 0 && std::string_view("eEfFgG%").find(how.type) != std::string_view::npos;
  if (value.is_integer() && !for_real) {
    if (how.type == 's') unsuitable(how, value);
    if (how.precision) throw_error(ErrorCode::kBadInput, "an integer has no precision");
    return integer_text(value.as_integer(), how);
  }
  if (value.is_number()) {
    if (!for_real && how.type != 0) unsuitable(how, value);
    return real_text(value.as_real(), how);
  }
  const Text* text = value.as_text();
  if (text == nullptr || (how.type != 0 && how.type != 's')) unsuitable(how, value);
  return text_text(*text, how);
}

// What is right of %: a mapping is looked into by name, other arguments are taken in turn.
class PercentArguments {
 public:
  explicit PercentArguments(const Value& right) : right_(right) {
    if (right.is_tuple()) tuple_ = right.as_list();
  }
  Value next() {
    if (taken_ == count())
      throw_error(ErrorCode::kBadInput, "a format wants more than {} arguments", taken_);
    return tuple_ != nullptr ? tuple_->items[taken_++] : (++taken_, right_);
  }
  Value named(const Text& name) {
    if (right_.as_mapping() == nullptr)
      throw_error(ErrorCode::kBadInput, "%({})s wants a mapping, not {}", printable(name.view()),
                  right_.kind());
    by_name_ = true;
    const Value* found = right_.as_mapping()->find(name.view());
    if (found == nullptr)
      throw_error(ErrorCode::kBadInput, "a format wants '{}', which the mapping lacks",
                  printable(name.view()));
    return *found;
  }
  std::int64_t integer() {
    const Value value = next();
    if (!value.is_integer() || std::abs(value.as_integer()) > std::int64_t{kMaxWeight})
      throw_error(ErrorCode::kBadInput, "* wants an integer of at most {}", kMaxWeight);
    return value.as_integer();
  }
  void finish() const {
    if (taken_ < count() && !by_name_ && right_.as_mapping() == nullptr)
      throw_error(ErrorCode::kBadInput, "a format takes {} arguments, but gets {}", taken_,
                  count());
  }

 private:
  std::size_t count() const { return tuple_ != nullptr ? tuple_->items.size() : 1; }

  const Value& right_;
  const List* tuple_ = nullptr;
  std::size_t taken_ = 0;
  bool by_name_ = false;
};

Specification parse_percent_flags(FormatReader& in, PercentArguments& arguments) {
  Specification how;
  bool left = false, zeros = false;
  while (const char flag = in.one_of("-+ #0")) {
    if (flag == '-') left = true;
    if (flag == '0') zeros = true;
    if (flag == '#') how.alternate = true;
    if (flag == '+' || (flag == ' ' && how.sign != '+')) how.sign = flag;
  }
  std::int64_t width = 0;
  if (in.skip('*'))
    width = arguments.integer();
  else
    width = static_cast<std::int64_t>(in.number().value_or(0));
  how.width = static_cast<std::size_t>(std::abs(width));
  how.align = left || width < 0 ? '<' : '>';
  if (zeros && how.align == '>') how.fill = Text("0"), how.align = '=';
  if (in.skip('.'))
    how.precision = in.skip('*')
                        ? static_cast<std::size_t>(std::max<std::int64_t>(arguments.integer(), 0))
                        : in.number().value_or(0);
  return how;
}

Text percent_field(const Value& value, char type, Specification how) {
  how.type = type;
  if (type == 's' || type == 'r') {
    how.type = 's', how.sign = '-', how.alternate = false;
    if (how.align == '=') how.align = '>', how.fill = Text(" ");
    return text_text(type == 's' ? to_text(value) : to_repr(value), how);
  }
  if (!value.is_number()) unsuitable(how, value);
  if (std::string_view("diu").find(type) == std::string_view::npos)
    return with_specification(value, how);
  how.type = 'd';
  if (value.is_real() && !(std::fabs(value.as_real()) < 9.2e18)) unsuitable(how, value);
  const std::int64_t whole =
      value.is_real() ? static_cast<std::int64_t>(value.as_real()) : value.as_integer();
  how.precision.reset();
  return integer_text(whole, how);
}

// The value of a field "name.attribute[key]", by position where there is no name.
class BraceArguments {
 public:
  explicit BraceArguments(const CallArguments& arguments) : arguments_(arguments) {}

  Value field(const Text& path) {
    FormatReader in(path);
    const Text name = in.until(".[");
    Value value = argument(name);
    while (!in.at_end()) {
      if (in.skip('.')) {
        value = attribute_of(value, in.until(".[").view());
        continue;
      }
      in.next();
      const Text key = in.until("]");
      if (!in.skip(']')) throw_error(ErrorCode::kBadInput, "a format lacks a ']'");
      FormatReader digits(key);
      const auto index = digits.number();
      value = item_of(value, index && digits.at_end()
                                 ? Value::integer(static_cast<std::int64_t>(*index))
                                 : Value::text(key));
    }
    return value;
  }

 private:
  Value argument(const Text& name) {
    FormatReader digits(name);
    auto index = digits.number();
    const bool by_position = name.empty() || (index && digits.at_end());
    if (!by_position) {
      for (const auto& [keyword, value] : arguments_.keywords)
        if (keyword == name.view()) return value;
      throw_error(ErrorCode::kBadInput, "format gets no '{}'", printable(name.view()));
    }
    if (numbered_ && *numbered_ != name.empty())
      throw_error(ErrorCode::kBadInput, "a format has fields with numbers and without");
    numbered_ = name.empty();
    if (name.empty()) index = next_++;
    if (*index >= arguments_.positional.size())
      throw_error(ErrorCode::kBadInput, "a format wants more than {} arguments",
                  arguments_.positional.size());
    return arguments_.positional[*index];
  }

  const CallArguments& arguments_;
  std::size_t next_ = 0;
  std::optional<bool> numbered_;  // by the format; else by their order
};

Text brace_text(const Text& format, BraceArguments& arguments, unsigned depth);

// After "{", up to and with its "}".
Text brace_field(FormatReader& in, BraceArguments& arguments, unsigned depth) {
  const Text path = in.until("!:{}");
  char conversion = 0;
  if (in.skip('!')) conversion = in.at_end() ? '\0' : in.next();
  Text specification;
  if (in.skip(':')) {
    const std::size_t begin = in.at();
    for (int open = 0; !in.at_end() && (open > 0 || in.current() != '}');) {
      const char c = in.next();
      open += c == '{' ? 1 : c == '}' ? -1 : 0;
    }
    specification = in.part(begin, in.at());
  }
  if (!in.skip('}')) throw_error(ErrorCode::kBadInput, "a format has a '{{' without its '}}'");
  Value value = arguments.field(path);
  if (conversion != 0 && conversion != 's' && conversion != 'r')
    throw_error(ErrorCode::kBadInput, "a format converts by !s and !r, not !{}",
                printable(std::string_view(&conversion, 1)));
  if (conversion != 0) value = Value::text(conversion == 'r' ? to_repr(value) : to_text(value));
  if (!specification.empty()) specification = brace_text(specification, arguments, depth + 1);
  if (specification.empty()) return to_text(value);
  return with_specification(value, parse_specification(specification));
}

Text brace_text(const Text& format, BraceArguments& arguments, unsigned depth) {
  if (depth > 1) throw_error(ErrorCode::kBadInput, "fields of a format are nested too deeply");
  Text out;
  FormatReader in(format);
  while (!in.at_end()) {
    out.append(in.until("{}"));
    if (in.at_end()) break;
    const char brace = in.next();
    if (in.skip(brace)) {
      out.append(std::string_view(&brace, 1));
    } else if (brace == '}') {
      throw_error(ErrorCode::kBadInput, "a format has a '}}' without its '{{'");
    } else {
      out.append(brace_field(in, arguments, depth));
    }
    check_size(out);
  }
  return out;
}

}  // namespace

Text percent_formatted(const Text& format, const Value& right) {
  PercentArguments arguments(right);
  FormatReader in(format);
  Text out;
  while (!in.at_end()) {
    out.append(in.until("%"));
    if (!in.skip('%')) break;
    if (in.skip('%')) {
      out.append("%");
      continue;
    }
    std::optional<Value> value;
    if (in.skip('(')) {
      value = arguments.named(in.until(")"));
      in.skip(')');
    }
    const Specification how = parse_percent_flags(in, arguments);
    const char type = in.one_of("diusrxXoeEfFgG");
    if (type == 0)
      throw_error(ErrorCode::kBadInput, "a format has a % without a type that is known");
    out.append(percent_field(value ? *value : arguments.next(), type, how));
    check_size(out);
  }
  arguments.finish();
  return out;
}

Text brace_formatted(const Text& format, const CallArguments& arguments) {
  BraceArguments in(arguments);
  return brace_text(format, in, 0);
}

}  // namespace hearth::runtime::jinja
