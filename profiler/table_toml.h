// Tables of TOML files, read strictly: a value that is missing, of another type or out of range, a
// key that nobody asked for, or text that is no TOML is an Error(kBadFile) naming file, line and
// key. toml++ is included here and in *_toml.cpp files only.
//
//   const toml::table root = parse_toml(text, name);
//   TableReader reader(root, name);
//   TableReader model = reader.table("model");
//   identity.layers = model.count("layers", {1, 65535});
//   model.finish();
//   reader.finish();
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#define TOML_HEADER_ONLY 1
#define TOML_MAX_NESTED_VALUES 32
// toml++ 3.3 asserts, or with NDEBUG assumes, of "[[" that a key follows, before it looks and
// refuses what does not. Neither is to be: text from a file is no bug.
#pragma push_macro("NDEBUG")
#undef NDEBUG
#define TOML_ASSERT(expression) static_assert(true)
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

namespace hearth::profiler {

// `name` appears in messages. Multi-line strings and keys of more than a few parts are refused:
// none of our files has them, and what they nest is not bounded by the parser.
toml::table parse_toml(std::string_view text, const std::string& name);

// As a basic string with its quotes. What is not UTF-8 becomes U+FFFD.
std::string quoted(std::string_view text);
std::string hex_text(std::uint64_t hash);  // 16 hex digits, with quotes

class TableReader {
 public:
  // `table` must outlive the reader.
  TableReader(const toml::table& table, const std::string& name) : table_(&table), name_(name) {}

  struct Range {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
  };
  struct RealRange {
    double low = 0;
    double high = 0;
  };
  bool has(std::string_view key) const { return table_->contains(key); }
  std::vector<std::string> keys() const;  // of a table whose keys are data
  std::string string(std::string_view key);
  std::uint64_t count(std::string_view key, Range range);
  double real(std::string_view key, RealRange range);  // finite; integers are accepted
  bool boolean(std::string_view key);
  std::uint64_t hex(std::string_view key);  // of hex_text()
  std::vector<std::uint64_t> counts(std::string_view key, Range range);
  std::vector<double> reals(std::string_view key, RealRange range);
  TableReader table(std::string_view key);
  std::vector<TableReader> tables(std::string_view key);  // [[key]]; empty if absent

  // Throws for a key that was not read: a misspelling would be ignored in silence.
  void finish() const;

  // "FILE: line 7: model.layers WHAT"
  [[noreturn]] void fail(std::string_view key, std::string_view what) const;

 private:
  const toml::node& node(std::string_view key);
  const toml::array& array(std::string_view key);
  std::uint64_t count_of(std::string_view key, const toml::node& node, Range range) const;
  double real_of(std::string_view key, const toml::node& node, RealRange range) const;
  [[noreturn]] void fail_at(std::string_view key, const toml::node& node,
                            std::string_view what) const;

  const toml::table* table_;
  std::string name_;
  std::string path_;  // of the table, with a dot at its end; empty for the root
  std::set<std::string, std::less<>> read_;
};

}  // namespace hearth::profiler
