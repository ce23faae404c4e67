// Moves, logic, shifts, selections and fields of bits.
#include <algorithm>
#include <bit>

#include "tests/ptx/lanes.h"

namespace hearth::ptx {
namespace {

template <typename T>
void add_moves(Forms& forms, std::initializer_list<const char*> types) {
  for (const std::string type : types) {
    add(forms, "mov." + type, [](T a) { return a; });
    add(forms, "selp." + type, [](T a, T b, Flag c) { return is_true(c) ? a : b; });
  }
}

template <typename T>
void add_logic(Forms& forms, const std::string& type) {
  add(forms, "and." + type, [](T a, T b) { return static_cast<T>(a & b); });
  add(forms, "or." + type, [](T a, T b) { return static_cast<T>(a | b); });
  add(forms, "xor." + type, [](T a, T b) { return static_cast<T>(a ^ b); });
  add(forms, "not." + type, [](T a) { return static_cast<T>(~a); });
}

std::uint32_t word(Flag x) { return static_cast<std::uint32_t>(x); }

void add_predicates(Forms& forms) {
  add(forms, "mov.pred", [](Flag a) { return a; });
  add(forms, "not.pred", [](Flag a) { return Flag(~word(a)); });
  add(forms, "and.pred", [](Flag a, Flag b) { return Flag(word(a) & word(b)); });
  add(forms, "or.pred", [](Flag a, Flag b) { return Flag(word(a) | word(b)); });
  add(forms, "xor.pred", [](Flag a, Flag b) { return Flag(word(a) ^ word(b)); });
}

// By more than the width is by the width.
template <typename T, typename Signed>
void add_shifts(Forms& forms, const std::string& width) {
  static constexpr unsigned kBits = 8 * sizeof(T);
  add(forms, "shl.b" + width, [](T a, std::uint32_t b) {
    return b < kBits ? static_cast<T>(a << (b & (kBits - 1))) : T{0};
  });
  const auto logical = [](T a, std::uint32_t b) {
    return b < kBits ? static_cast<T>(a >> (b & (kBits - 1))) : T{0};
  };
  add(forms, "shr.b" + width, logical);
  add(forms, "shr.u" + width, logical);
  add(forms, "shr.s" + width,
      [](Signed a, std::uint32_t b) { return static_cast<Signed>(a >> std::min(b, kBits - 1)); });
}

std::uint32_t funnel_left(std::uint32_t low, std::uint32_t high, std::uint32_t bits) {
  const std::uint64_t both = std::uint64_t{high} << 32 | low;
  return static_cast<std::uint32_t>(both << bits >> 32);
}
std::uint32_t funnel_right(std::uint32_t low, std::uint32_t high, std::uint32_t bits) {
  const std::uint64_t both = std::uint64_t{high} << 32 | low;
  return static_cast<std::uint32_t>(both >> bits);
}

// Each nibble of the selector names a byte of b:a; with its top bit set, that byte's sign takes all
// bits.
std::uint32_t permute(std::uint32_t a, std::uint32_t b, std::uint32_t selector) {
  const std::uint64_t both = std::uint64_t{b} << 32 | a;
  std::uint32_t result = 0;
  for (unsigned i = 0; i < 4; ++i) {
    const std::uint32_t nibble = selector >> 4 * i & 15;
    const auto byte = static_cast<std::uint8_t>(both >> 8 * (nibble & 7));
    const std::uint32_t sign = byte & 0x80 ? 0xff : 0;
    result |= (nibble & 8 ? sign : byte) << 8 * i;
  }
  return result;
}

template <typename T>
T ones(std::uint32_t count) {
  return count >= 8 * sizeof(T) ? static_cast<T>(~T{0}) : static_cast<T>((T{1} << count) - 1);
}

template <typename T>
T insert_field(T field, T into, std::uint32_t position, std::uint32_t length) {
  position &= 0xff, length &= 0xff;
  if (position >= 8 * sizeof(T)) return into;
  const T mask = static_cast<T>(ones<T>(length) << position);
  return static_cast<T>((into & ~mask) | (field << position & mask));
}

template <typename T>
T extract_field(T from, std::uint32_t position, std::uint32_t length) {
  position &= 0xff, length &= 0xff;
  return position >= 8 * sizeof(T) ? T{0} : static_cast<T>(from >> position & ones<T>(length));
}

template <typename T>
T extract_signed(T from, std::uint32_t position, std::uint32_t length) {
  constexpr std::uint32_t kTop = 8 * sizeof(T) - 1;
  const T field = extract_field(from, position, length);
  position &= 0xff, length &= 0xff;
  if (length == 0) return 0;
  const bool sign = from >> std::min(position + length - 1, kTop) & 1;
  const std::uint32_t found = position > kTop ? 0 : std::min(length, kTop + 1 - position);
  return sign ? static_cast<T>(field | ~ones<T>(found)) : field;
}

template <typename T, typename Half>
void split(Warp& warp, const Instruction& instruction) {
  const T* from = warp.row<T>(instruction.operands[2]);
  Half low[kLanes], high[kLanes];
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    low[lane] = static_cast<Half>(from[lane]);
    high[lane] = static_cast<Half>(from[lane] >> 8 * sizeof(Half));
  }
  warp.store(instruction.operands[0], low);
  warp.store(instruction.operands[1], high);
}

template <typename T, typename Half>
void add_halves(Forms& forms, const std::string& opcode) {
  add(forms, opcode, [](Half low, Half high) {
    return static_cast<T>(low | static_cast<T>(high) << 8 * sizeof(Half));
  });
  forms.emplace(opcode, Form{&split<T, Half>, 2, {sizeof(Half), sizeof(Half), sizeof(T)}});
}

}  // namespace

void add_bits(Forms& forms) {
  using Word = std::uint32_t;
  using Long = std::uint64_t;
  add_moves<std::uint16_t>(forms, {"b16", "u16", "s16"});
  add_moves<Word>(forms, {"b32", "u32", "s32", "f32"});
  add_moves<Long>(forms, {"b64", "u64", "s64", "f64"});
  for (const char* global : {"cvta.global.u64", "cvta.to.global.u64"})
    add(forms, global, [](Long a) { return a; });
  add(forms, "cvta.shared.u64", [](Long a) { return a + kSharedWindow; });
  add(forms, "cvta.to.shared.u64", [](Long a) { return a - kSharedWindow; });
  add_halves<Word, std::uint16_t>(forms, "mov.b32");
  add_halves<Long, Word>(forms, "mov.b64");
  add_logic<std::uint16_t>(forms, "b16");
  add_logic<Word>(forms, "b32");
  add_logic<Long>(forms, "b64");
  add_predicates(forms);
  add_shifts<std::uint16_t, std::int16_t>(forms, "16");
  add_shifts<Word, std::int32_t>(forms, "32");
  add_shifts<Long, std::int64_t>(forms, "64");
  add(forms, "shf.l.wrap.b32", [](Word a, Word b, Word c) { return funnel_left(a, b, c & 31); });
  add(forms, "shf.r.wrap.b32", [](Word a, Word b, Word c) { return funnel_right(a, b, c & 31); });
  add(forms, "shf.l.clamp.b32",
      [](Word a, Word b, Word c) { return funnel_left(a, b, std::min(c, Word{32})); });
  add(forms, "shf.r.clamp.b32",
      [](Word a, Word b, Word c) { return funnel_right(a, b, std::min(c, Word{32})); });
  add(forms, "prmt.b32", [](Word a, Word b, Word c) { return permute(a, b, c); });
  add(forms, "bfi.b32", [](Word a, Word b, Word c, Word d) { return insert_field(a, b, c, d); });
  add(forms, "bfi.b64", [](Long a, Long b, Word c, Word d) { return insert_field(a, b, c, d); });
  add(forms, "bfe.u32", [](Word a, Word b, Word c) { return extract_field(a, b, c); });
  add(forms, "bfe.s32", [](Word a, Word b, Word c) { return extract_signed(a, b, c); });
  add(forms, "popc.b32", [](Word a) { return static_cast<Word>(std::popcount(a)); });
  add(forms, "popc.b64", [](Long a) { return static_cast<Word>(std::popcount(a)); });
  add(forms, "clz.b32", [](Word a) { return static_cast<Word>(std::countl_zero(a)); });
  add(forms, "clz.b64", [](Long a) { return static_cast<Word>(std::countl_zero(a)); });
}

}  // namespace hearth::ptx
