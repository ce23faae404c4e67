// PTX text as a list of what it declares and of statements, without a meaning yet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hearth::ptx {

struct Operand {
  enum class Kind { kRegister, kName, kInteger, kFloat, kDouble, kAddress, kVector };
  Kind kind;
  std::string_view
      name;          // of a symbol, a label, a special register; of what an address starts from
  unsigned reg = 0;  // index into Function::registers
  std::uint64_t bits = 0;      // an immediate's, or the offset of an address
  std::vector<Operand> parts;  // of {a, b}, of a|b; what an address starts from
  bool negated = false;        // !p
};

struct Statement {
  unsigned line;
  std::string_view opcode;
  std::vector<Operand> operands;
  int guard = -1;  // a register
  bool guard_negated = false;
};

struct Variable {
  std::string_view name;
  std::size_t alignment;
  std::size_t bytes;
  bool dynamic = false;             // shared memory whose size the launch says
  std::vector<std::byte> contents;  // empty: zero, or noise in shared memory
};

struct Register {
  std::uint8_t bytes;  // 0: a predicate
};

struct Function {
  std::string_view name;
  std::vector<Variable> parameters;
  std::vector<Variable> shared;
  std::vector<Register> registers;  // those that statements use
  std::vector<Statement> statements;
  std::unordered_map<std::string_view, std::size_t> labels;  // to a statement's index
  unsigned max_threads = 1024;
};

struct Source {
  std::vector<Variable> globals;
  std::vector<Variable> shared;  // of the module: the dynamic ones
  std::vector<Function> entries;
};

// Views in the result are into `text`. Throws Error.
Source read_source(std::string_view text);

[[noreturn]] void fail_at(unsigned line, const std::string& what);

}  // namespace hearth::ptx
