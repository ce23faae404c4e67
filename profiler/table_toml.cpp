#include "profiler/table_toml.h"

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/utf8.h"

namespace hearth::profiler {
namespace {

constexpr int kMostKeyParts = 8;

[[noreturn]] void bad_file(const std::string& name, std::uint32_t line, std::string_view what) {
  throw_error(ErrorCode::kBadFile, "{}: line {}: {}; correct it, or make the file again",
              printable(name, 400), line, what);
}

// Outside of strings toml++ 3.3 takes some letters beyond ASCII for a case that cannot be, and what
// it reads ahead as a number may run through a string. So it is given nothing beyond ASCII: letters
// in strings become escapes, and comments go.
// a.b.c.d = 1 nests as deep as it has dots, and a table is destroyed recursively. Text in quotes
// does not count; without multi-line strings it ends with its line.
class AsciiToml {
 public:
  AsciiToml(std::string_view text, const std::string& name) : rest_(text), name_(name) {}

  std::string text() && {
    out_.reserve(rest_.size());
    while (!rest_.empty()) quote_ != 0 && rest_[0] != '\n' ? in_string() : outside();
    return std::move(out_);
  }

 private:
  void outside() {
    const char c = rest_[0];
    if (c == '#') {
      rest_.remove_prefix(std::min(rest_.find('\n'), rest_.size()));
      return;
    }
    if (c == '\n') line_ += 1;
    if (c == '\n' || c == '=' || c == ',' || c == '{' || c == '[') parts_ = 1;
    if (c == '.' && ++parts_ > kMostKeyParts) fail("a key has too many parts");
    if (static_cast<unsigned char>(c) >= 0x80)
      fail("a character that is not ASCII stands outside of quotes");
    quote_ = c == '"' || c == '\'' ? c : 0;
    if (quote_ != 0 && rest_.starts_with(c == '"' ? "\"\"\"" : "\'\'\'"))
      fail("multi-line strings are not used here");
    take(quote_ != 0 ? '"' : c);
  }

  // A literal string becomes a basic one, which is where escapes are.
  void in_string() {
    const char c = rest_[0];
    if (c == quote_) {
      quote_ = 0;
      take('"');
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      const std::size_t length = valid_utf8_length(rest_);
      if (length == 0) fail("a string is not UTF-8");
      out_ += fmt::format("\\U{:08x}", std::uint32_t{code_point(rest_.substr(0, length))});
      rest_.remove_prefix(length);
    } else if (quote_ == '\'' && (c == '"' || c == '\\')) {
      out_ += '\\';
      take(c);
    } else {
      take(c);
      if (c == '\\') escaped();
    }
  }

  void escaped() {
    if (rest_.empty() || rest_[0] == '\n') return;
    if (static_cast<unsigned char>(rest_[0]) >= 0x80) fail("a string has an unknown escape");
    take(rest_[0]);
  }

  void take(char written) {
    out_ += written;
    rest_.remove_prefix(1);
  }

  [[noreturn]] void fail(std::string_view what) const { bad_file(name_, line_, what); }

  std::string_view rest_;
  const std::string& name_;
  std::string out_;
  std::uint32_t line_ = 1;
  int parts_ = 1;   // of the key, so far
  char quote_ = 0;  // that the string began with; 0 outside of strings
};

std::string range_text(const auto& range) {
  return fmt::format("outside {} to {}", range.low, range.high);
}

}  // namespace

toml::table parse_toml(std::string_view text, const std::string& name) {
  const std::string ascii = AsciiToml(text, name).text();
  try {
    return toml::parse(ascii);
  } catch (const toml::parse_error& error) {
    bad_file(name, error.source().begin.line, printable(error.description(), 200));
  }
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const std::size_t length = valid_utf8_length(text);
    const auto byte = static_cast<unsigned char>(text[0]);
    if (length == 0)
      out += "\xef\xbf\xbd";
    else if (byte == '"' || byte == '\\')
      out += '\\', out += text[0];
    else if (byte < 0x20 || byte == 0x7f)
      out += fmt::format("\\u{:04x}", byte);
    else
      out += text.substr(0, length);
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out + '"';
}

std::string hex_text(std::uint64_t hash) { return fmt::format("\"{:016x}\"", hash); }

void TableReader::fail_at(std::string_view key, const toml::node& node,
                          std::string_view what) const {
  bad_file(name_, node.source().begin.line, fmt::format("{}{} {}", path_, printable(key), what));
}

void TableReader::fail(std::string_view key, std::string_view what) const {
  const toml::node* const node = table_->get(key);
  fail_at(key, node != nullptr ? *node : static_cast<const toml::node&>(*table_), what);
}

const toml::node& TableReader::node(std::string_view key) {
  const toml::node* const node = table_->get(key);
  if (node == nullptr) fail(key, "is missing");
  read_.emplace(key);
  return *node;
}

std::vector<std::string> TableReader::keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : *table_) keys.emplace_back(key.str());
  return keys;
}

std::string TableReader::string(std::string_view key) {
  const toml::node& found = node(key);
  if (!found.is_string()) fail_at(key, found, "is not a string");
  return found.as_string()->get();
}

std::uint64_t TableReader::count_of(std::string_view key, const toml::node& node,
                                    Range range) const {
  if (!node.is_integer()) fail_at(key, node, "is not an integer");
  const std::int64_t value = node.as_integer()->get();
  if (value < 0 || static_cast<std::uint64_t>(value) < range.low ||
      static_cast<std::uint64_t>(value) > range.high)
    fail_at(key, node, fmt::format("is {}, {}", value, range_text(range)));
  return static_cast<std::uint64_t>(value);
}

double TableReader::real_of(std::string_view key, const toml::node& node, RealRange range) const {
  if (!node.is_number()) fail_at(key, node, "is not a number");
  const double value = node.is_integer() ? static_cast<double>(node.as_integer()->get())
                                         : node.as_floating_point()->get();
  if (!std::isfinite(value) || value < range.low || value > range.high)
    fail_at(key, node, fmt::format("is {}, {}", value, range_text(range)));
  return value;
}

std::uint64_t TableReader::count(std::string_view key, Range range) {
  return count_of(key, node(key), range);
}

double TableReader::real(std::string_view key, RealRange range) {
  return real_of(key, node(key), range);
}

bool TableReader::boolean(std::string_view key) {
  const toml::node& found = node(key);
  if (!found.is_boolean()) fail_at(key, found, "is neither true nor false");
  return found.as_boolean()->get();
}

std::uint64_t TableReader::hex(std::string_view key) {
  const std::string digits = string(key);
  std::uint64_t value = 0;
  const char* const end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value, 16);
  if (digits.size() != 16 || error != std::errc() || stop != end)
    fail(key, "is not a string of 16 hex digits");
  return value;
}

const toml::array& TableReader::array(std::string_view key) {
  const toml::node& found = node(key);
  if (!found.is_array()) fail_at(key, found, "is not an array");
  return *found.as_array();
}

std::vector<std::uint64_t> TableReader::counts(std::string_view key, Range range) {
  std::vector<std::uint64_t> values;
  for (const toml::node& element : array(key)) values.push_back(count_of(key, element, range));
  return values;
}

std::vector<double> TableReader::reals(std::string_view key, RealRange range) {
  std::vector<double> values;
  for (const toml::node& element : array(key)) values.push_back(real_of(key, element, range));
  return values;
}

TableReader TableReader::table(std::string_view key) {
  const toml::node& found = node(key);
  if (!found.is_table()) fail_at(key, found, "is not a table");
  TableReader reader(*found.as_table(), name_);
  reader.path_ = fmt::format("{}{}.", path_, key);
  return reader;
}

std::vector<TableReader> TableReader::tables(std::string_view key) {
  std::vector<TableReader> readers;
  if (!has(key)) return readers;
  for (const toml::node& element : array(key)) {
    if (!element.is_table()) fail_at(key, element, "is not a table");
    readers.emplace_back(*element.as_table(), name_).path_ =
        fmt::format("{}{}[{}].", path_, key, readers.size());
  }
  return readers;
}

void TableReader::finish() const {
  for (const auto& [key, value] : *table_)
    if (read_.find(key.str()) == read_.end()) fail(key.str(), "is not known");
}

}  // namespace hearth::profiler
