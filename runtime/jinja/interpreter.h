// Runs a parsed template.
//
// A template comes with a model file, so it is not trusted: work, output and depth are bounded, and
// it reaches nothing but its variables and the clock.
#pragma once

#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/jinja/arguments.h"
#include "runtime/jinja/syntax.h"
#include "runtime/jinja/value.h"

namespace hearth::runtime::jinja {

class Interpreter;

// Something that can be called. Called as written in the template, with its arguments evaluated.
class Callable {
 public:
  virtual ~Callable() = default;
  virtual Value call(Interpreter& interpreter, CallArguments arguments) const = 0;
  virtual std::optional<Value> attribute(std::string_view) const { return std::nullopt; }
};

using Variables = std::vector<std::pair<std::string, Value>>;

struct Limits {
  // An evaluated node of the template costs 16, eight bytes that are copied or compared cost 1: a
  // second or two of work, or a gigabyte of text. A published template takes a thousandth of this.
  std::uint64_t work = 128'000'000;
  std::size_t output_bytes = 16 << 20;
  unsigned depth = 400;  // of expressions, blocks and macro calls in one another
};

// Names that are visible from a place of the template.
struct Scope {
  std::shared_ptr<Scope> parent;
  Variables variables;

  const Value* find(std::string_view name) const;
  void set(std::string_view name, Value value);
};

class Interpreter {
 public:
  // `now` is the local time that strftime_now writes.
  Interpreter(const Limits& limits, std::function<std::tm()> now);
  ~Interpreter();

  Text run(const Block& block, const Variables& variables);
  unsigned line() const { return line_; }  // that was run last

  Value evaluate(const Expression& expression);
  Value call(const Value& callable, CallArguments arguments);
  // The text of a recursive loop over other items, within the scope `around` it.
  Value run_recursive(const Statement& loop, const std::shared_ptr<Scope>& around, const Value& all,
                      unsigned level);
  Value run_macro(const Statement& macro, const std::shared_ptr<Scope>& around,
                  CallArguments arguments);
  Value apply_filter(std::string_view name, Value input, CallArguments arguments);
  bool apply_test(std::string_view name, const Value& input, CallArguments arguments);

  // Throw Error(kBadInput) where the work is used up.
  void charge(std::uint64_t work);
  void charge_bytes(std::size_t bytes) { charge(bytes / 8); }
  void charge_for(const Value& value) { charge_bytes(value.weight()); }
  std::tm now() const { return now_(); }

 private:
  enum class Flow { kNext, kBreak, kContinue };
  class InnerScope;

  // How deep the interpreter is in itself, while it lives.
  class Depth {
   public:
    explicit Depth(Interpreter& interpreter);
    ~Depth() { --interpreter_.depth_; }

   private:
    Interpreter& interpreter_;
  };

  Flow run_block(const Block& block);
  Flow run_statement(const Statement& statement);
  Flow run_if(const Statement& statement);
  Flow run_for(const Statement& statement);
  // `level`: of the loop, where it is recursive.
  Flow run_loop(const Statement& statement, const Value& all, unsigned level);
  std::vector<Value> loop_items(const Statement& statement, const Value& all);
  Flow run_scoped(const Statement& statement);
  Text captured(const Block& block);
  void begin_output() { outputs_.emplace_back(); }
  Text take_output();
  void define_macro(const Statement& statement);
  void run_call(const Statement& statement);
  void write(const Text& text);
  void assign(const Target& target, const Value& value);

  Value evaluate_node(const Expression& expression);
  Value evaluate_name(const Expression& expression);
  Value evaluate_call(const Expression& expression);
  Value evaluate_compare(const Expression& expression);
  Value evaluate_slice(const Expression& expression);
  Value concatenate(const Expression& expression);
  std::vector<Value> evaluate_all(const std::vector<ExpressionPtr>& parts);
  CallArguments evaluate_arguments(const std::vector<Argument>& arguments);

  const Limits limits_;
  const std::function<std::tm()> now_;
  std::shared_ptr<Scope> scope_;
  std::vector<Text> outputs_;     // the last one is written to
  std::size_t output_bytes_ = 0;  // of all
  Value body_;                    // of the block that is filtered
  std::uint64_t work_ = 0;
  unsigned depth_ = 0;
  unsigned line_ = 1;
};

}  // namespace hearth::runtime::jinja
