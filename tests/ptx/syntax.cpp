#include "tests/ptx/syntax.h"

#include <charconv>
#include <cstring>
#include <map>
#include <optional>

#include "tests/ptx/interpreter.h"
#include "tests/ptx/tokens.h"

namespace hearth::ptx {

void fail_at(unsigned line, const std::string& what) {
  throw Error("PTX line " + std::to_string(line) + ": " + what);
}

namespace {

struct Number {
  Operand::Kind kind;
  std::uint64_t bits;
};

std::optional<Number> number_of(std::string_view word) {
  if (word.empty() || word[0] < '0' || word[0] > '9') return std::nullopt;
  Operand::Kind kind = Operand::Kind::kInteger;
  int base = 10;
  if (word.size() > 2 && word[0] == '0') {
    switch (word[1]) {
      case 'f':
      case 'F':
        kind = Operand::Kind::kFloat, base = 16;
        break;
      case 'd':
      case 'D':
        kind = Operand::Kind::kDouble, base = 16;
        break;
      case 'x':
      case 'X':
        base = 16;
        break;
      case 'b':
      case 'B':
        base = 2;
        break;
      default:
        base = 8;
    }
    word.remove_prefix(base == 8 ? 1 : 2);
  }
  if (kind == Operand::Kind::kInteger && word.ends_with('U')) word.remove_suffix(1);
  std::uint64_t bits = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), bits, base);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return Number{kind, bits};
}

std::size_t bytes_of_type(std::string_view type) {
  static const std::map<std::string_view, std::size_t> known = {
      {".b8", 1},  {".u8", 1},  {".s8", 1},  {".b16", 2}, {".u16", 2},
      {".s16", 2}, {".f16", 2}, {".b32", 4}, {".u32", 4}, {".s32", 4},
      {".f32", 4}, {".b64", 8}, {".u64", 8}, {".s64", 8}, {".f64", 8}};
  const auto found = known.find(type);
  return found == known.end() ? 0 : found->second;
}

class Reader {
 public:
  explicit Reader(std::string_view text) : tokens_(tokens_of(text)) {}

  Source read() {
    while (!peek().empty()) read_module_item();
    return std::move(source_);
  }

 private:
  // A range %r<10> is known by its prefix, all other registers by their names.
  struct Declared {
    std::uint8_t bytes;
    unsigned count;  // 0: one register, of that name
    unsigned scope;
  };
  using Scope = std::unordered_map<std::string_view, Declared>;

  std::string_view peek(std::size_t ahead = 0) const {
    return tokens_[std::min(next_ + ahead, tokens_.size() - 1)].text;
  }
  unsigned line() const { return tokens_[next_].line; }
  std::string_view take() {
    if (peek().empty()) fail("the text ends too early");
    return tokens_[next_++].text;
  }
  bool take_if(std::string_view text) {
    if (peek() != text) return false;
    ++next_;
    return true;
  }
  void expect(std::string_view text) {
    if (!take_if(text))
      fail("'" + std::string(text) + "' expected before '" + std::string(peek()) + "'");
  }
  [[noreturn]] void fail(const std::string& what) const { fail_at(line(), what); }

  std::uint64_t integer() {
    const bool negative = take_if("-");
    const auto number = number_of(peek());
    if (!number || number->kind != Operand::Kind::kInteger)
      fail("an integer expected, not '" + std::string(peek()) + "'");
    ++next_;
    return negative ? 0 - number->bits : number->bits;
  }

  void read_module_item() {
    const std::string_view word = take();
    if (word == ".version" || word == ".target" || word == ".address_size") {
      if (word == ".address_size" && peek() != "64") fail("addresses of 64 bits expected");
      const unsigned here = line();
      while (!peek().empty() && line() == here) take();
    } else if (word == ".visible" || word == ".weak") {
      if (peek() != ".entry" && peek() != ".global" && peek() != ".const")
        fail("cannot be visible here: " + std::string(peek()));
    } else if (word == ".entry") {
      read_entry();
    } else if (word == ".global" || word == ".const") {
      source_.globals.push_back(read_variable());
    } else if (word == ".extern") {
      expect(".shared");
      source_.shared.push_back(read_variable());
      if (!source_.shared.back().dynamic) fail("external shared memory is expected without a size");
    } else if (word == ".file") {
      skip_line();
    } else {
      fail("unknown in a module: " + std::string(word));
    }
  }

  void skip_line() {
    const unsigned here = tokens_[next_ - 1].line;
    while (!peek().empty() && line() == here) ++next_;
  }

  // After the space: .align 8 .b8 name[2] = {1, 2};
  Variable read_variable() {
    Variable variable = read_type_and_name();
    if (take_if("=")) read_contents(variable);
    expect(";");
    return variable;
  }

  Variable read_type_and_name() {
    Variable variable{};
    if (take_if(".align")) variable.alignment = integer();
    element_bytes_ = bytes_of_type(peek());
    if (element_bytes_ == 0) fail("unknown type: " + std::string(peek()));
    take();
    if (variable.alignment == 0) variable.alignment = element_bytes_;
    variable.name = take();
    variable.bytes = element_bytes_;
    if (take_if("[")) {
      if (take_if("]")) {
        variable.dynamic = true;
        variable.bytes = 0;
      } else {
        variable.bytes *= integer();
        expect("]");
      }
      if (peek() == "[") fail("an array of arrays");
    }
    return variable;
  }

  void read_contents(Variable& variable) {
    variable.contents.resize(variable.bytes);
    const bool many = take_if("{");
    for (std::size_t at = 0;; at += element_bytes_) {
      if (at + element_bytes_ > variable.bytes) fail("more values than the variable has");
      const bool negative = take_if("-");
      const auto number = number_of(peek());
      if (!number) fail("a number expected, not '" + std::string(peek()) + "'");
      ++next_;
      const std::uint64_t bits = negative ? 0 - number->bits : number->bits;
      std::memcpy(variable.contents.data() + at, &bits, element_bytes_);
      if (!many) return;
      if (take_if("}")) return;
      expect(",");
    }
  }

  void read_entry() {
    function_ = {};
    used_.clear();
    scopes_.clear();
    function_.name = take();
    if (take_if("(")) {
      while (!take_if(")")) {
        expect(".param");
        function_.parameters.push_back(read_type_and_name());
        take_if(",");
      }
    }
    while (peek() != "{") read_performance_directive();
    read_scope();
    if (const std::string_view label = unknown_label(); !label.empty())
      fail("no label " + std::string(label));
    source_.entries.push_back(std::move(function_));
  }

  void read_performance_directive() {
    const std::string_view word = take();
    if (word == ".maxntid") {
      function_.max_threads = static_cast<unsigned>(integer());
      while (take_if(",")) function_.max_threads *= static_cast<unsigned>(integer());
    } else if (word == ".minnctapersm") {
      integer();  // for ptxas alone
    } else {
      fail("unknown directive of a kernel: " + std::string(word));
    }
  }

  void read_scope() {
    expect("{");
    scopes_.emplace_back();
    while (!take_if("}")) read_body_item();
    scopes_.pop_back();
  }

  void read_body_item() {
    if (peek() == "{") return read_scope();
    if (peek(1) == ":") {
      const std::string_view label = take();
      take();
      if (!function_.labels.emplace(label, function_.statements.size()).second)
        fail("a second label " + std::string(label));
      return;
    }
    if (take_if(".reg")) return read_registers();
    if (take_if(".shared")) {
      function_.shared.push_back(read_variable());
      return;
    }
    if (take_if(".loc")) return skip_line();
    if (take_if(".pragma")) {  // hints for ptxas
      take();
      expect(";");
      return;
    }
    read_statement();
  }

  void read_registers() {
    const std::string_view type = take();
    const std::size_t bytes = bytes_of_type(type);
    if (bytes < 2 && type != ".pred") fail("unknown type of a register: " + std::string(type));
    do {
      const std::string_view name = take();
      unsigned count = 0;
      if (take_if("<")) {
        count = static_cast<unsigned>(integer());
        expect(">");
      }
      scopes_.back()[name] = {static_cast<std::uint8_t>(bytes), count, ++declarations_};
    } while (take_if(","));
    expect(";");
  }

  // The index of a register that was declared, else nothing: the innermost declaration counts.
  std::optional<unsigned> find_register(std::string_view name) {
    const std::size_t digits = name.find_last_not_of("0123456789") + 1;
    const std::string_view prefix = name.substr(0, digits);
    unsigned number = 0;
    std::from_chars(name.data() + digits, name.data() + name.size(), number);
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      auto found = scope->find(name);
      if (found == scope->end() || found->second.count != 0) {
        found = scope->find(prefix);
        if (digits == name.size() || found == scope->end() || number >= found->second.count)
          continue;
      }
      const std::string key = std::to_string(found->second.scope) + std::string(name);
      const auto [known, fresh] = used_.emplace(key, function_.registers.size());
      if (fresh) function_.registers.push_back({found->second.bytes});
      return known->second;
    }
    return std::nullopt;
  }

  void read_statement() {
    Statement statement{.line = line(), .opcode = {}, .operands = {}};
    if (take_if("@")) {
      statement.guard_negated = take_if("!");
      const auto guard = find_register(peek());
      if (!guard || function_.registers[*guard].bytes != 0)
        fail("no predicate: " + std::string(peek()));
      take();
      statement.guard = static_cast<int>(*guard);
    }
    statement.opcode = take();
    if (statement.opcode.starts_with('.'))
      fail("unknown in a kernel: " + std::string(statement.opcode));
    if (!take_if(";")) {
      do statement.operands.push_back(read_operand());
      while (take_if(","));
      expect(";");
    }
    function_.statements.push_back(std::move(statement));
  }

  Operand read_operand() {
    Operand operand = read_simple_operand();
    if (!take_if("|")) return operand;
    Operand pair{.kind = Operand::Kind::kVector, .name = {}, .parts = {}};
    pair.parts.push_back(std::move(operand));
    pair.parts.push_back(read_simple_operand());
    return pair;
  }

  Operand read_simple_operand() {
    Operand operand{.kind = Operand::Kind::kName, .name = {}, .parts = {}};
    if (take_if("{")) {
      operand.kind = Operand::Kind::kVector;
      do operand.parts.push_back(read_simple_operand());
      while (take_if(","));
      expect("}");
    } else if (take_if("[")) {
      operand.kind = Operand::Kind::kAddress;
      operand.parts.push_back(read_simple_operand());
      if (take_if("+")) operand.bits = integer();
      expect("]");
    } else {
      operand.negated = take_if("!");
      const bool negative = take_if("-");
      operand.name = take();
      if (const auto number = number_of(operand.name)) {
        operand.kind = number->kind;
        operand.bits = negative ? 0 - number->bits : number->bits;
      } else if (const auto reg = find_register(operand.name)) {
        operand.kind = Operand::Kind::kRegister;
        operand.reg = *reg;
      }
    }
    return operand;
  }

  std::string_view unknown_label() const {
    for (const Statement& statement : function_.statements)
      if (statement.opcode.starts_with("bra") && !statement.operands.empty() &&
          !function_.labels.contains(statement.operands[0].name))
        return statement.operands[0].name;
    return {};
  }

  std::vector<Token> tokens_;
  std::size_t next_ = 0;
  std::size_t element_bytes_ = 0;  // of the last type
  Source source_;
  Function function_;
  std::vector<Scope> scopes_;
  std::unordered_map<std::string, unsigned> used_;
  unsigned declarations_ = 0;
};

}  // namespace

Source read_source(std::string_view text) { return Reader(text).read(); }

}  // namespace hearth::ptx
