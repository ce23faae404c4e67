// The filter tojson as chat templates know it: json.dumps of Python, without HTML escapes.
#pragma once

#include <optional>

#include "runtime/jinja/value.h"

namespace hearth::runtime::jinja {

struct JsonStyle {
  std::optional<std::int64_t> indent;  // none: on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool ascii = false;  // \uXXXX for everything else
  bool sort_keys = false;
};

// Text that was given stays marked. Throws Error(kBadInput) for what JSON cannot hold.
Text to_json(const Value& value, const JsonStyle& style);

}  // namespace hearth::runtime::jinja
