// PTX has a register for each value, thousands in a kernel, of which few are in use at a time.
// Those that are not share places, so that what a warp holds stays in a cache.
//
// In use means: written before on some way here, and read later on some way from here, without a
// write between (liveness, by the usual backward iteration over blocks). What counts is the way of
// one lane, for each has a place of its own in a row.
#include <algorithm>
#include <array>

#include "tests/ptx/lower.h"

namespace hearth::ptx {
namespace {

class Bits {
 public:
  explicit Bits(std::size_t size) : words_((size + 63) / 64) {}
  bool has(std::size_t i) const { return words_[i / 64] >> i % 64 & 1; }
  void set(std::size_t i) { words_[i / 64] |= std::uint64_t{1} << i % 64; }
  // Adds (other without those in `killed`); whether that changed anything.
  bool add(const Bits& other, const Bits& killed) {
    bool changed = false;
    for (std::size_t w = 0; w < words_.size(); ++w) {
      const std::uint64_t after = words_[w] | (other.words_[w] & ~killed.words_[w]);
      changed |= after != words_[w];
      words_[w] = after;
    }
    return changed;
  }
  template <typename F>
  void each(F f) const {
    for (std::size_t w = 0; w < words_.size(); ++w)
      for (std::uint64_t word = words_[w]; word != 0; word &= word - 1)
        f(64 * w + static_cast<std::size_t>(__builtin_ctzll(word)));
  }

 private:
  std::vector<std::uint64_t> words_;
};

struct BasicBlock {
  std::size_t begin, end;
  Bits reads;  // before any write in it, or in those that follow
  Bits writes;
  std::vector<std::size_t> next;
};

std::vector<BasicBlock> basic_blocks(const std::vector<Lowered>& code, std::size_t registers) {
  std::vector<bool> leads(code.size() + 1);
  leads[0] = leads[code.size()] = true;
  for (std::size_t i = 0; i < code.size(); ++i) {
    if (code[i].target != Lowered::kNone) leads[code[i].target] = true;
    if (code[i].target != Lowered::kNone || !code[i].goes_on) leads[i + 1] = true;
  }
  std::vector<BasicBlock> blocks;
  std::vector<std::size_t> block_at(code.size() + 1);
  for (std::size_t i = 0; i < code.size(); ++i) {
    if (leads[i]) blocks.push_back({i, i, Bits(registers), Bits(registers), {}});
    BasicBlock& block = blocks.back();
    block_at[i] = blocks.size() - 1;
    block.end = i + 1;
    const auto& slots = code[i].slots;
    for (std::size_t s = code[i].outputs; s < slots.size(); ++s)
      if (slots[s].is_register && !block.writes.has(slots[s].value))
        block.reads.set(slots[s].value);
    for (std::size_t s = 0; s < code[i].outputs; ++s) block.writes.set(slots[s].value);
  }
  for (BasicBlock& block : blocks) {
    const Lowered& last = code[block.end - 1];
    if (last.goes_on) block.next.push_back(block_at[block.end]);
    if (last.target != Lowered::kNone) block.next.push_back(block_at[last.target]);
  }
  return blocks;
}

// From the first to the last point at which a register is in use. An instruction has two: it reads,
// then it writes.
struct Interval {
  std::size_t begin = ~std::size_t{0}, end = 0;
  void extend(std::size_t point) {
    begin = std::min(begin, point);
    end = std::max(end, point);
  }
};

std::vector<Interval> intervals(const std::vector<Lowered>& code, std::size_t registers) {
  std::vector<BasicBlock> blocks = basic_blocks(code, registers);
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t b = blocks.size(); b-- > 0;)
      for (std::size_t next : blocks[b].next)
        changed |= blocks[b].reads.add(blocks[next].reads, blocks[b].writes);
  }
  std::vector<Interval> result(registers);
  for (const BasicBlock& block : blocks) {
    block.reads.each([&](std::size_t r) { result[r].extend(2 * block.begin); });
    for (std::size_t next : block.next)
      blocks[next].reads.each([&](std::size_t r) { result[r].extend(2 * block.end - 1); });
    for (std::size_t i = block.begin; i < block.end; ++i)
      for (std::size_t s = 0; s < code[i].slots.size(); ++s)
        if (code[i].slots[s].is_register)
          result[code[i].slots[s].value].extend(2 * i + (s < code[i].outputs));
  }
  return result;
}

}  // namespace

std::vector<std::uint32_t> place_registers(const Function& function,
                                           const std::vector<Lowered>& code, Kernel& kernel) {
  const std::size_t registers = function.registers.size();
  const std::vector<Interval> in_use = intervals(code, registers);
  std::vector<std::size_t> by_begin, by_end;
  for (std::size_t r = 0; r < registers; ++r)
    if (in_use[r].begin <= in_use[r].end) by_begin.push_back(r);
  by_end = by_begin;
  std::ranges::sort(by_begin, {}, [&](std::size_t r) { return in_use[r].begin; });
  std::ranges::sort(by_end, {}, [&](std::size_t r) { return in_use[r].end; });

  kernel.register_bytes = kSpecials * kSpecialBytes;
  std::vector<std::uint32_t> places(registers);
  std::array<std::vector<std::uint32_t>, 9> free;  // places of each width
  std::size_t ended = 0;
  for (std::size_t r : by_begin) {
    const auto width = [&](std::size_t reg) {
      return std::max<std::size_t>(function.registers[reg].bytes,
                                   function.registers[reg].bytes ? 2 : 4);
    };
    for (; in_use[by_end[ended]].end < in_use[r].begin; ++ended)
      free[width(by_end[ended])].push_back(places[by_end[ended]]);
    auto& of_width = free[width(r)];
    if (of_width.empty()) {
      places[r] = static_cast<std::uint32_t>(kernel.register_bytes);
      kernel.register_bytes += kLanes * width(r);
    } else {
      places[r] = of_width.back();
      of_width.pop_back();
    }
  }
  return places;
}

}  // namespace hearth::ptx
