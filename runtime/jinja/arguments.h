// The arguments of a call, and how a function takes them: by position, then by name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/jinja/value.h"

namespace hearth::runtime::jinja {

struct CallArguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;
};

// Parameters are taken in the order in which the function declares them; finish() complains about
// arguments that no parameter took. Throws Error(kBadInput).
class ArgumentReader {
 public:
  ArgumentReader(std::string_view function, CallArguments arguments)
      : function_(function), arguments_(std::move(arguments)) {}

  std::optional<Value> take(std::string_view parameter);
  std::optional<Value> take_named(std::string_view parameter);  // never by position
  Value require(std::string_view parameter);
  Text text(std::string_view parameter, std::string_view default_text);
  Text require_text(std::string_view parameter);
  std::int64_t integer(std::string_view parameter, std::int64_t default_value);
  bool boolean(std::string_view parameter, bool default_value);
  CallArguments take_rest();  // for who passes them on
  void finish() const;

  const std::string& function() const { return function_; }

 private:
  std::string function_;
  CallArguments arguments_;
  std::size_t taken_ = 0;  // positional ones
};

}  // namespace hearth::runtime::jinja
