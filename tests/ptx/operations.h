// What instructions do, by opcode and by the widths of their operands.
//
// A form of an opcode lists the bytes of each operand, vectors taken apart, 0 for a predicate;
// those written come first. What has no form is unknown: also whatever the ISA leaves to the card
// (.approx, .ftz) or to ptxas (a product and a sum without .rn may become one instruction).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tests/ptx/code.h"

namespace hearth::ptx {

struct Form {
  Execute execute;
  unsigned outputs;
  std::vector<std::uint8_t> widths;
};
using Forms = std::unordered_multimap<std::string, Form>;

void add_arithmetic(Forms&);
void add_bits(Forms&);
void add_comparisons(Forms&);
void add_conversions(Forms&);
void add_collectives(Forms&);
void add_control(Forms&);
const Forms& forms();

// A load, store, atomic or prefetch. The registers besides the address have these widths, and come
// before it.
struct MemoryForm {
  Execute execute;
  Access access;
};
// Without execute where the opcode is no such instruction, or one of other registers.
MemoryForm find_memory_form(std::string_view opcode, const std::vector<std::uint8_t>& widths,
                            std::uint8_t address_bytes);

}  // namespace hearth::ptx
