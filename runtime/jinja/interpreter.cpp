#include "runtime/jinja/interpreter.h"

#include <algorithm>

#include "base/error.h"
#include "runtime/jinja/functions.h"
#include "runtime/jinja/operators.h"

namespace hearth::runtime::jinja {
namespace {

constexpr std::uint64_t kNodeWork = 16;

class Macro final : public Callable {
 public:
  Macro(const Statement& statement, std::weak_ptr<Scope> around)
      : statement_(statement), around_(std::move(around)) {}
  Value call(Interpreter& interpreter, CallArguments arguments) const override {
    // Weak: a scope holds its macros, and what is held in a circle is never freed.
    const auto around = around_.lock();
    if (around == nullptr)
      throw_error(ErrorCode::kBadInput, "a macro is called outside of the block that defines it");
    return interpreter.run_macro(statement_, around, std::move(arguments));
  }

 private:
  const Statement& statement_;
  const std::weak_ptr<Scope> around_;
};

class Cycle final : public Callable {
 public:
  explicit Cycle(std::size_t index) : index_(index) {}
  Value call(Interpreter&, CallArguments arguments) const override {
    if (arguments.positional.empty())
      throw_error(ErrorCode::kBadInput, "loop.cycle wants something to choose from");
    return arguments.positional[index_ % arguments.positional.size()];
  }

 private:
  const std::size_t index_;
};

// The variable `loop` at an item. Called, it is the loop over other items, if that is recursive.
class Loop final : public Callable {
 public:
  using Items = std::shared_ptr<const std::vector<Value>>;
  Loop(const Statement& statement, std::weak_ptr<Scope> around, Items items, std::size_t index,
       unsigned level)
      : statement_(statement),
        around_(std::move(around)),
        items_(std::move(items)),
        index_(index),
        level_(level) {}

  Value call(Interpreter& interpreter, CallArguments arguments) const override {
    ArgumentReader in("loop", std::move(arguments));
    const Value all = in.require("iterable");
    in.finish();
    if (!statement_.recursive)
      throw_error(ErrorCode::kBadInput, "the loop is called, but not marked as recursive");
    const auto around = around_.lock();
    if (around == nullptr) throw_error(ErrorCode::kBadInput, "a loop is called outside of itself");
    return interpreter.run_recursive(statement_, around, all, level_ + 1);
  }

  std::optional<Value> attribute(std::string_view name) const override {
    const auto count = static_cast<std::int64_t>(items_->size());
    const auto index = static_cast<std::int64_t>(index_);
    if (name == "index") return Value::integer(index + 1);
    if (name == "index0") return Value::integer(index);
    if (name == "revindex") return Value::integer(count - index);
    if (name == "revindex0") return Value::integer(count - index - 1);
    if (name == "first") return Value::boolean(index == 0);
    if (name == "last") return Value::boolean(index + 1 == count);
    if (name == "length") return Value::integer(count);
    if (name == "depth") return Value::integer(level_ + 1);
    if (name == "depth0") return Value::integer(level_);
    if (name == "previtem") return item(index - 1);
    if (name == "nextitem") return item(index + 1);
    if (name == "cycle") return Value::callable(std::make_shared<Cycle>(index_));
    return std::nullopt;
  }

 private:
  Value item(std::int64_t at) const {
    if (at < 0 || at >= static_cast<std::int64_t>(items_->size()))
      return Value::undefined("there is no such item of the loop");
    return (*items_)[static_cast<std::size_t>(at)];
  }

  const Statement& statement_;
  const std::weak_ptr<Scope> around_;
  const Items items_;
  const std::size_t index_;
  const unsigned level_;
};

}  // namespace

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent.get())
    for (const auto& [known, value] : scope->variables)
      if (known == name) return &value;
  return nullptr;
}

void Scope::set(std::string_view name, Value value) {
  for (auto& [known, held] : variables)
    if (known == name) {
      held = std::move(value);
      return;
    }
  variables.emplace_back(name, std::move(value));
}

Interpreter::Depth::Depth(Interpreter& interpreter) : interpreter_(interpreter) {
  interpreter.charge(kNodeWork);
  if (interpreter.depth_ == interpreter.limits_.depth)
    throw_error(ErrorCode::kBadInput, "blocks and macros call one another more than {} deep",
                interpreter.limits_.depth);
  ++interpreter.depth_;
}

class Interpreter::InnerScope {
 public:
  explicit InnerScope(Interpreter& interpreter) : InnerScope(interpreter, interpreter.scope_) {}
  InnerScope(Interpreter& interpreter, std::shared_ptr<Scope> parent)
      : interpreter_(interpreter), outer_(interpreter.scope_) {
    interpreter.scope_ = std::make_shared<Scope>(Scope{std::move(parent), {}});
  }
  ~InnerScope() { interpreter_.scope_ = std::move(outer_); }

 private:
  Interpreter& interpreter_;
  std::shared_ptr<Scope> outer_;
};

Interpreter::Interpreter(const Limits& limits, std::function<std::tm()> now)
    : limits_(limits), now_(std::move(now)) {}
Interpreter::~Interpreter() = default;

void Interpreter::charge(std::uint64_t work) {
  work_ += work;
  if (work_ > limits_.work)
    throw_error(ErrorCode::kBadInput, "the template takes too long: more than {} units of work",
                limits_.work);
}

void Interpreter::write(const Text& text) {
  charge_bytes(text.size());
  output_bytes_ += text.size();
  if (output_bytes_ > limits_.output_bytes)
    throw_error(ErrorCode::kBadInput, "the template writes more than {} bytes",
                limits_.output_bytes);
  outputs_.back().append(text);
}

Text Interpreter::take_output() {
  Text text = std::move(outputs_.back());
  outputs_.pop_back();
  output_bytes_ -= text.size();
  return text;
}

Text Interpreter::run(const Block& block, const Variables& variables) {
  scope_ = std::make_shared<Scope>();
  for (const auto& [name, function] : global_functions()) scope_->set(name, function);
  for (const auto& [name, value] : variables) scope_->set(name, value);
  // Assignments of the template do not reach what it was given.
  const InnerScope top(*this);
  begin_output();
  run_block(block);
  return take_output();
}

Interpreter::Flow Interpreter::run_block(const Block& block) {
  for (const Statement& statement : block)
    if (const Flow flow = run_statement(statement); flow != Flow::kNext) return flow;
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run_statement(const Statement& statement) {
  const Depth depth(*this);
  line_ = statement.line;
  switch (statement.kind) {
    case StatementKind::kText:
      write(Text(statement.text));
      break;
    case StatementKind::kOutput: {
      const Value value = evaluate(*statement.expression);
      write(value.as_text() != nullptr ? *value.as_text() : to_text(value));
      break;
    }
    case StatementKind::kIf:
      return run_if(statement);
    case StatementKind::kFor:
      return run_for(statement);
    case StatementKind::kSet:
      assign(statement.target, evaluate(*statement.expression));
      break;
    case StatementKind::kSetBlock:
      body_ = Value::text(captured(statement.body));
      assign(statement.target, evaluate(*statement.expression));
      break;
    case StatementKind::kFilter:
      body_ = Value::text(captured(statement.body));
      write(to_text(evaluate(*statement.expression)));
      break;
    case StatementKind::kMacro:
      define_macro(statement);
      break;
    case StatementKind::kCall:
      run_call(statement);
      break;
    case StatementKind::kWith:
      return run_scoped(statement);
    case StatementKind::kGroup:
      return run_block(statement.body);
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run_if(const Statement& statement) {
  for (const Branch& branch : statement.branches)
    if (evaluate(*branch.condition).truth()) return run_block(branch.body);
  return run_block(statement.otherwise);
}

std::vector<Value> Interpreter::loop_items(const Statement& statement, const Value& all) {
  charge_for(all);
  std::vector<Value> items = items_of(all);
  if (statement.condition == nullptr) return items;
  std::vector<Value> kept;
  for (Value& item : items) {
    const InnerScope scope(*this);
    assign(statement.target, item);
    if (evaluate(*statement.condition).truth()) kept.push_back(std::move(item));
  }
  return kept;
}

Interpreter::Flow Interpreter::run_for(const Statement& statement) {
  return run_loop(statement, evaluate(*statement.expression), 0);
}

Interpreter::Flow Interpreter::run_loop(const Statement& statement, const Value& all,
                                        unsigned level) {
  const auto items = std::make_shared<const std::vector<Value>>(loop_items(statement, all));
  for (std::size_t i = 0; i < items->size(); ++i) {
    charge(4 * kNodeWork);
    const std::weak_ptr<Scope> around = scope_;
    const InnerScope scope(*this);
    scope_->set("loop",
                Value::callable(std::make_shared<Loop>(statement, around, items, i, level)));
    assign(statement.target, (*items)[i]);
    if (run_block(statement.body) == Flow::kBreak) break;
  }
  return items->empty() ? run_block(statement.otherwise) : Flow::kNext;
}

Value Interpreter::run_recursive(const Statement& loop, const std::shared_ptr<Scope>& around,
                                 const Value& all, unsigned level) {
  const Depth depth(*this);
  const unsigned line = line_;
  const InnerScope scope(*this, around);
  begin_output();
  run_loop(loop, all, level);
  line_ = line;
  return Value::text(take_output());
}

Interpreter::Flow Interpreter::run_scoped(const Statement& statement) {
  std::vector<Value> values;
  for (const auto& [target, expression] : statement.assignments)
    values.push_back(evaluate(*expression));
  const InnerScope scope(*this);
  for (std::size_t i = 0; i < values.size(); ++i) assign(statement.assignments[i].first, values[i]);
  return run_block(statement.body);
}

Text Interpreter::captured(const Block& block) {
  const InnerScope scope(*this);
  begin_output();
  run_block(block);
  return take_output();
}

void Interpreter::assign(const Target& target, const Value& value) {
  if (!target.parts.empty()) {
    const std::vector<Value> items = items_of(value);
    if (items.size() != target.parts.size())
      throw_error(ErrorCode::kBadInput, "{} values are assigned to {} names", items.size(),
                  target.parts.size());
    for (std::size_t i = 0; i < items.size(); ++i) assign(target.parts[i], items[i]);
    return;
  }
  if (target.field.empty()) return scope_->set(target.name, value);
  const Value* held = scope_->find(target.name);
  Namespace* space = held == nullptr ? nullptr : held->as_namespace();
  if (space == nullptr)
    throw_error(ErrorCode::kBadInput, "'{}' is no namespace, so that '{}' cannot be set",
                printable(target.name), printable(target.field));
  if (value.as_namespace() != nullptr)
    throw_error(ErrorCode::kBadInput, "a namespace cannot be put into a namespace");
  for (auto& [name, old] : space->entries)
    if (name == target.field) {
      old = value;
      return;
    }
  space->entries.emplace_back(target.field, value);
}

void Interpreter::define_macro(const Statement& statement) {
  scope_->set(statement.text, Value::callable(std::make_shared<Macro>(statement, scope_)));
}

// The block is a macro of its own, which the called one knows as `caller`.
void Interpreter::run_call(const Statement& statement) {
  const Expression& call_expression = *statement.expression;
  const Value callee = evaluate(*call_expression.parts[0]);
  CallArguments arguments = evaluate_arguments(call_expression.arguments);
  arguments.keywords.emplace_back("caller",
                                  Value::callable(std::make_shared<Macro>(statement, scope_)));
  write(to_text(call(callee, std::move(arguments))));
}

Value Interpreter::run_macro(const Statement& macro, const std::shared_ptr<Scope>& around,
                             CallArguments arguments) {
  const Depth depth(*this);
  ArgumentReader in(macro.text.empty() ? "caller" : macro.text, std::move(arguments));
  const unsigned line = line_;
  const InnerScope scope(*this, around);
  for (const Parameter& parameter : macro.parameters) {
    auto value = in.take(parameter.name);
    if (!value && parameter.default_value != nullptr) value = evaluate(*parameter.default_value);
    scope_->set(parameter.name,
                value.value_or(Value::undefined(
                    fmt::format("parameter '{}' was not provided", printable(parameter.name)))));
  }
  if (auto caller = in.take_named("caller")) scope_->set("caller", *std::move(caller));
  in.finish();
  begin_output();
  run_block(macro.body);
  line_ = line;
  return Value::text(take_output());
}

}  // namespace hearth::runtime::jinja
