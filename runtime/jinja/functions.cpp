#include "runtime/jinja/functions.h"

#include <array>

#include "base/error.h"
#include "runtime/jinja/operators.h"

namespace hearth::runtime::jinja {
namespace {

constexpr std::int64_t kMaxRange = 100'000;
constexpr std::size_t kMaxTimeFormat = 256;

Value range(Interpreter& interpreter, ArgumentReader& in) {
  std::int64_t begin = 0, end = in.integer("stop", 0);
  if (const auto second = in.take("second")) {
    begin = end;
    if (!second->is_integer()) throw_error(ErrorCode::kBadInput, "range wants integers");
    end = second->as_integer();
  }
  const std::int64_t step = in.integer("step", 1);
  if (step == 0) throw_error(ErrorCode::kBadInput, "range: the step is 0");
  std::vector<Value> numbers;
  for (std::int64_t n = begin; step > 0 ? n < end : n > end;) {
    if (static_cast<std::int64_t>(numbers.size()) == kMaxRange)
      throw_error(ErrorCode::kBadInput, "range has more than {} numbers", kMaxRange);
    numbers.push_back(Value::integer(n));
    if (__builtin_add_overflow(n, step, &n)) break;
  }
  interpreter.charge(numbers.size());
  return Value::list(std::move(numbers));
}

std::vector<std::pair<Value, Value>> entries_of(ArgumentReader& in) {
  CallArguments all = in.take_rest();
  std::vector<std::pair<Value, Value>> entries;
  for (const Value& argument : all.positional) {
    if (argument.as_mapping() == nullptr)
      throw_error(ErrorCode::kBadInput, "{} wants a mapping, not {}", in.function(),
                  argument.kind());
    entries.insert(entries.end(), argument.as_mapping()->entries.begin(),
                   argument.as_mapping()->entries.end());
  }
  for (auto& [name, value] : all.keywords)
    entries.emplace_back(Value::text(name), std::move(value));
  return entries;
}

Value dict(Interpreter&, ArgumentReader& in) { return Value::mapping(entries_of(in)); }

Value name_space(Interpreter&, ArgumentReader& in) {
  Value space = Value::name_space();
  for (auto& [name, value] : entries_of(in)) {
    if (value.as_namespace() != nullptr)
      throw_error(ErrorCode::kBadInput, "a namespace cannot be put into a namespace");
    space.as_namespace()->entries.emplace_back(to_text(name).bytes(), std::move(value));
  }
  return space;
}

Value raise_exception(Interpreter&, ArgumentReader& in) {
  throw_error(ErrorCode::kBadInput, "the template refuses: {}",
              printable(in.text("message", "").view(), 400));
}

Value strftime_now(Interpreter& interpreter, ArgumentReader& in) {
  const Text format = in.require_text("format");
  if (format.size() > kMaxTimeFormat)
    throw_error(ErrorCode::kBadInput, "strftime_now: the format has more than {} bytes",
                kMaxTimeFormat);
  const std::tm now = interpreter.now();
  std::array<char, 64 * kMaxTimeFormat> text;
  return Value::text(std::string_view(
      text.data(), std::strftime(text.data(), text.size(), format.bytes().c_str(), &now)));
}

class Function final : public Callable {
 public:
  using Body = Value (*)(Interpreter&, ArgumentReader&);
  Function(std::string_view name, Body body) : name_(name), body_(body) {}
  Value call(Interpreter& interpreter, CallArguments arguments) const override {
    ArgumentReader in(name_, std::move(arguments));
    Value result = body_(interpreter, in);
    in.finish();
    return result;
  }

 private:
  const std::string_view name_;
  const Body body_;
};

}  // namespace

Variables global_functions() {
  Variables functions;
  for (const auto& [name, body] : std::initializer_list<std::pair<const char*, Function::Body>>{
           {"range", range},
           {"dict", dict},
           {"namespace", name_space},
           {"raise_exception", raise_exception},
           {"strftime_now", strftime_now}})
    functions.emplace_back(name, Value::callable(std::make_shared<Function>(name, body)));
  return functions;
}

}  // namespace hearth::runtime::jinja
