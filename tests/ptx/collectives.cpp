// Instructions for which the lanes of a warp meet: shuffles, votes and products of matrices.
#include "tests/ptx/lanes.h"

namespace hearth::ptx {
namespace {

// Waits for the lanes that the operand names. False: not all are here yet.
bool meet(Warp& warp, std::uint32_t operand) {
  const auto* named = warp.row<std::uint32_t>(operand);
  const std::uint32_t wanted = named[warp.first_lane()];
  const bool here = warp.together(wanted);
  if (!here) return false;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!(warp.mask() >> lane & 1)) continue;
    if (named[lane] != wanted) warp.fail(lane, "lanes of one collective name different lanes");
    if (!(wanted >> lane & 1)) warp.fail(lane, "the lanes of the collective are without this one");
  }
  return true;
}

void synchronize(Warp& warp, const Instruction& instruction) {
  meet(warp, instruction.operands[0]);
}

enum class Shuffle { kIndex, kButterfly, kUp, kDown };

struct Source {
  unsigned lane;
  bool in_range;
};

// As the manual's pseudocode has it.
template <Shuffle mode>
Source source_of(unsigned lane, std::uint32_t b, std::uint32_t c) {
  const unsigned value = b & 31, clamp = c & 31, segments = c >> 8 & 31;
  const unsigned least = lane & segments;
  const unsigned most = least | (clamp & ~segments);
  switch (mode) {
    case Shuffle::kIndex: {
      const unsigned j = least | (value & ~segments);
      return {j, j <= most};
    }
    case Shuffle::kButterfly:
      return {lane ^ value, (lane ^ value) <= most};
    case Shuffle::kUp: {
      const int j = static_cast<int>(lane) - static_cast<int>(value);
      return {static_cast<unsigned>(j), j >= static_cast<int>(most)};
    }
    case Shuffle::kDown:
      return {lane + value, lane + value <= most};
  }
  return {};
}

// d[|p], a, b, c, lanes
template <Shuffle mode, bool tells>
void shuffle(Warp& warp, const Instruction& instruction) {
  const std::uint32_t* operands = instruction.operands + tells;
  if (!meet(warp, operands[4])) return;
  const auto* a = warp.row<std::uint32_t>(operands[1]);
  const auto* b = warp.row<std::uint32_t>(operands[2]);
  const auto* c = warp.row<std::uint32_t>(operands[3]);
  std::uint32_t values[kLanes];
  Flag told[kLanes];
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    const Source source = source_of<mode>(lane, b[lane], c[lane]);
    const unsigned from = source.in_range ? source.lane : lane;
    if (warp.mask() >> lane & 1 && !(warp.mask() >> from & 1))
      warp.fail(lane, "a shuffle from lane " + std::to_string(from) + ", which takes no part");
    values[lane] = a[from];
    told[lane] = flag(source.in_range);
  }
  warp.store(instruction.operands[0], values);
  if (tells) warp.store(instruction.operands[1], told);
}

template <Shuffle mode>
void add_shuffle(Forms& forms, const std::string& name) {
  forms.emplace("shfl.sync." + name + ".b32", Form{&shuffle<mode, false>, 1, {4, 4, 4, 4, 4}});
  forms.emplace("shfl.sync." + name + ".b32", Form{&shuffle<mode, true>, 2, {4, 0, 4, 4, 4, 4}});
}

std::uint32_t votes(const Warp& warp, std::uint32_t operand) {
  const auto* flags = warp.row<Flag>(operand);
  std::uint32_t mask = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane)
    mask |= static_cast<std::uint32_t>(flags[lane]) & 1u << lane;
  return mask & warp.mask();
}

// d, a, lanes
template <typename To, typename Count>
void vote(Warp& warp, const Instruction& instruction) {
  if (!meet(warp, instruction.operands[2])) return;
  const To result = Count{}(votes(warp, instruction.operands[1]), warp.mask());
  To results[kLanes];
  for (To& each : results) each = result;
  warp.store(instruction.operands[0], results);
}

template <typename Count>
void add_vote(Forms& forms, const std::string& name, Count) {
  using To = decltype(Count{}(0u, 0u));
  forms.emplace("vote.sync." + name, Form{&vote<To, Count>, 1, {kWidth<To>, 0, 4}});
}

// D = A B + C over signed bytes, where fragments lie in the lanes as the manual's section "Matrix
// fragments" says for each shape: with group = lane / 4 and place = lane % 4, register r of A holds
// row group + 8 (r % 2) and columns 4 place + 16 (r / 2) + i of byte i; register r of B rows 4
// place + 16 r + i and column group; register r of C and D row group + 8 (r / 2) and column 2 place
// + r % 2.
template <unsigned rows, unsigned depth>
void multiply(Warp& warp, const Instruction& instruction) {
  constexpr unsigned kColumns = 8;
  constexpr unsigned kSums = rows / 4, kA = rows * depth / 128, kB = depth / 16;
  if (!warp.together(kAllLanes)) return;
  if (warp.mask() != kAllLanes) warp.fail(warp.first_lane(), "mma.sync after lanes have left");
  const std::uint32_t* operands = instruction.operands;
  std::int8_t a[rows][depth], b[depth][kColumns];
  std::int32_t sums[rows][kColumns];
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    const unsigned group = lane / 4, place = lane % 4;
    for (unsigned r = 0; r < kA; ++r) {
      const std::uint32_t bytes = warp.row<std::uint32_t>(operands[kSums + r])[lane];
      const unsigned row = rows == 8 ? group : group + 8 * (r % 2);
      for (unsigned i = 0; i < 4; ++i)
        a[row][4 * place + 16 * (r / 2) + i] = static_cast<std::int8_t>(bytes >> 8 * i);
    }
    for (unsigned r = 0; r < kB; ++r) {
      const std::uint32_t bytes = warp.row<std::uint32_t>(operands[kSums + kA + r])[lane];
      for (unsigned i = 0; i < 4; ++i)
        b[4 * place + 16 * r + i][group] = static_cast<std::int8_t>(bytes >> 8 * i);
    }
    for (unsigned r = 0; r < kSums; ++r)
      sums[group + 8 * (r / 2)][2 * place + r % 2] =
          warp.row<std::int32_t>(operands[kSums + kA + kB + r])[lane];
  }
  for (unsigned row = 0; row < rows; ++row)
    for (unsigned k = 0; k < depth; ++k)
      for (unsigned column = 0; column < kColumns; ++column)
        sums[row][column] =
            static_cast<std::int32_t>(static_cast<std::uint32_t>(sums[row][column]) +
                                      static_cast<std::uint32_t>(a[row][k] * b[k][column]));
  for (unsigned r = 0; r < kSums; ++r) {
    std::int32_t results[kLanes];
    for (unsigned lane = 0; lane < kLanes; ++lane)
      results[lane] = sums[lane / 4 + 8 * (r / 2)][2 * (lane % 4) + r % 2];
    warp.store(operands[r], results);
  }
}

template <unsigned rows, unsigned depth>
void add_product(Forms& forms) {
  constexpr unsigned kOperands = 2 * (rows / 4) + rows * depth / 128 + depth / 16;
  const std::string shape = "m" + std::to_string(rows) + "n8k" + std::to_string(depth);
  forms.emplace("mma.sync.aligned." + shape + ".row.col.s32.s8.s8.s32",
                Form{&multiply<rows, depth>, rows / 4, std::vector<std::uint8_t>(kOperands, 4)});
}

}  // namespace

void add_collectives(Forms& forms) {
  forms.emplace("bar.warp.sync", Form{&synchronize, 0, {4}});
  add_shuffle<Shuffle::kIndex>(forms, "idx");
  add_shuffle<Shuffle::kButterfly>(forms, "bfly");
  add_shuffle<Shuffle::kUp>(forms, "up");
  add_shuffle<Shuffle::kDown>(forms, "down");
  using Mask = std::uint32_t;
  add_vote(forms, "any.pred", [](Mask set, Mask) { return flag(set != 0); });
  add_vote(forms, "all.pred", [](Mask set, Mask all) { return flag(set == all); });
  add_vote(forms, "ballot.b32", [](Mask set, Mask) { return set; });
  add_product<8, 16>(forms);
  add_product<16, 16>(forms);
  add_product<16, 32>(forms);
}

}  // namespace hearth::ptx
