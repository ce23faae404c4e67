#include "runtime/jinja/template.h"

#include "base/error.h"
#include "runtime/jinja/parser.h"

namespace hearth::runtime::jinja {
namespace {

Block parse_named(std::string_view source, const std::string& name) {
  try {
    return parse(source);
  } catch (const Error& error) {
    throw_error(error.code(), "{}: {}; give another with --chat-template", name, error.what());
  }
}

std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return local;
}

}  // namespace

Template::Template(std::string_view source, std::string name)
    : name_(std::move(name)), block_(parse_named(source, name_)) {}

Text Template::render(const Variables& variables, const Limits& limits) const {
  return render_at(local_time(), variables, limits);
}

Text Template::render_at(const std::tm& now, const Variables& variables,
                         const Limits& limits) const {
  Interpreter interpreter(limits, [now] { return now; });
  try {
    return interpreter.run(block_, variables);
  } catch (const Error& error) {
    throw_error(error.code(), "{}: line {}: {}", name_, interpreter.line(), error.what());
  }
}

}  // namespace hearth::runtime::jinja
