// Statements with their operations, before registers have places.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tests/ptx/code.h"
#include "tests/ptx/syntax.h"

namespace hearth::ptx {

// A register by its index; a constant or a special register by its operand.
struct Slot {
  bool is_register;
  std::uint32_t value;
};

struct Lowered {
  Execute execute;
  std::vector<Slot> slots;
  unsigned outputs = 0;
  std::int64_t immediate = 0;
  Access access = {};
  std::size_t target = kNone;  // where a branch leads to
  bool goes_on = true;         // to the next instruction
  unsigned line = 0;

  static constexpr std::size_t kNone = ~std::size_t{0};
};

struct Addresses {  // of variables
  std::unordered_map<std::string_view, std::uint64_t> variables;
};

// Also fills the constants of the kernel. Throws Error at whatever has no form.
std::vector<Lowered> lower(const Function&, const Addresses&, Kernel&);

// Where in a warp's memory each register lies; two that are never in use at once may have the same
// place. Sets the size of that memory.
std::vector<std::uint32_t> place_registers(const Function&, const std::vector<Lowered>&, Kernel&);

}  // namespace hearth::ptx
