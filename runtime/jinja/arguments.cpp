#include "runtime/jinja/arguments.h"

#include "base/error.h"

namespace hearth::runtime::jinja {

std::optional<Value> ArgumentReader::take(std::string_view parameter) {
  std::optional<Value> named = take_named(parameter);
  if (taken_ == arguments_.positional.size()) return named;
  if (named) throw_error(ErrorCode::kBadInput, "{} gets '{}' twice", function_, parameter);
  return arguments_.positional[taken_++];
}

std::optional<Value> ArgumentReader::take_named(std::string_view parameter) {
  for (auto entry = arguments_.keywords.begin(); entry != arguments_.keywords.end(); ++entry)
    if (entry->first == parameter) {
      Value value = std::move(entry->second);
      arguments_.keywords.erase(entry);
      return value;
    }
  return std::nullopt;
}

Value ArgumentReader::require(std::string_view parameter) {
  if (auto value = take(parameter)) return *std::move(value);
  throw_error(ErrorCode::kBadInput, "{} wants '{}'", function_, parameter);
}

Text ArgumentReader::require_text(std::string_view parameter) {
  const Value value = require(parameter);
  if (const Text* text = value.as_text()) return *text;
  throw_error(ErrorCode::kBadInput, "{} wants a string as '{}', not {}", function_, parameter,
              value.kind());
}

Text ArgumentReader::text(std::string_view parameter, std::string_view default_text) {
  const auto value = take(parameter);
  return value ? to_text(*value) : Text(default_text);
}

std::int64_t ArgumentReader::integer(std::string_view parameter, std::int64_t default_value) {
  const auto value = take(parameter);
  if (!value) return default_value;
  if (value->is_integer()) return value->as_integer();
  throw_error(ErrorCode::kBadInput, "{} wants an integer as '{}', not {}", function_, parameter,
              value->kind());
}

bool ArgumentReader::boolean(std::string_view parameter, bool default_value) {
  const auto value = take(parameter);
  return value ? value->truth() : default_value;
}

CallArguments ArgumentReader::take_rest() {
  CallArguments rest = std::move(arguments_);
  rest.positional.erase(rest.positional.begin(),
                        rest.positional.begin() + static_cast<std::ptrdiff_t>(taken_));
  arguments_ = {};
  taken_ = 0;
  return rest;
}

void ArgumentReader::finish() const {
  if (taken_ < arguments_.positional.size())
    throw_error(ErrorCode::kBadInput, "{} gets {} arguments, but takes {}", function_,
                arguments_.positional.size(), taken_);
  if (!arguments_.keywords.empty())
    throw_error(ErrorCode::kBadInput, "{} has no parameter '{}'", function_,
                printable(arguments_.keywords[0].first));
}

}  // namespace hearth::runtime::jinja
