// Branches, barriers, fences and ends.
#include <atomic>

#include "tests/ptx/operations.h"
#include "tests/ptx/warp.h"

namespace hearth::ptx {
namespace {

std::uint32_t lanes_of(const Flag* flags) {
  std::uint32_t mask = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane)
    mask |= static_cast<std::uint32_t>(flags[lane]) & 1u << lane;
  return mask;
}

std::size_t target(const Instruction& instruction) {
  return static_cast<std::size_t>(instruction.immediate);
}

void branch(Warp& warp, const Instruction& instruction) {
  warp.branch(kAllLanes, target(instruction));
}

template <bool negated>
void branch_if(Warp& warp, const Instruction& instruction) {
  const std::uint32_t set = lanes_of(warp.row<Flag>(instruction.operands[0]));
  warp.branch(negated ? ~set : set, target(instruction));
}

template <bool negated>
void branch_uniformly(Warp& warp, const Instruction& instruction) {
  const std::uint32_t set = lanes_of(warp.row<Flag>(instruction.operands[0]));
  const std::uint32_t taken = (negated ? ~set : set) & warp.mask();
  if (taken != 0 && taken != warp.mask())
    warp.fail(warp.first_lane(), "bra.uni that is not uniform");
  warp.branch(taken, target(instruction));
}

void exit(Warp& warp, const Instruction&) { warp.exit(); }

void trap(Warp& warp, const Instruction&) { warp.fail(warp.first_lane(), "trap"); }

template <Scope scope>
void fence(Warp& warp, const Instruction&) {
  if (Multiprocessor* const copies = warp.block().copies) {
    copies->release(scope);
    copies->acquire(scope);
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

// "Causes the executing thread to wait until all prerequisite grids in flight have completed",
// which they have: grids run one after the other.
void wait_for_grids(Warp& warp, const Instruction&) { warp.wait_for_grids(); }
// "Signals that specific dependents the runtime system designated to react to this instruction can
// be scheduled": here none is before the end.
void launch_dependents(Warp&, const Instruction&) {}

// The operand of a barrier: the same in all threads.
unsigned uniform(Warp& warp, std::uint32_t operand) {
  const auto* values = warp.row<std::uint32_t>(operand);
  const std::uint32_t first = values[warp.first_lane()];
  for (unsigned lane = 0; lane < kLanes; ++lane)
    if (warp.mask() >> lane & 1 && values[lane] != first)
      warp.fail(lane, "a barrier's operand differs between lanes");
  return first;
}

// .aligned: all threads of a warp are at the same barrier.
template <bool counted>
void barrier(Warp& warp, const Instruction& instruction) {
  if (!warp.together(kAllLanes)) return;
  const unsigned index = uniform(warp, instruction.operands[0]);
  if (index >= Block::kBarriers) warp.fail(warp.first_lane(), "there are 16 barriers");
  const unsigned expected = counted ? uniform(warp, instruction.operands[1]) : 0;
  if (counted && (expected == 0 || expected % kLanes != 0))
    warp.fail(warp.first_lane(), "a barrier's count is a multiple of 32");
  Block::Barrier& barrier = warp.block().barriers[index];
  if (barrier.arrived != 0 && barrier.expected != expected)
    warp.fail(warp.first_lane(), "threads expect different counts at one barrier");
  barrier.expected = expected;
  barrier.arrived += static_cast<unsigned>(std::popcount(warp.mask()));
  warp.wait_at(index);
  warp.block().open_barriers();
}

}  // namespace

void Block::open_barriers() {
  for (unsigned i = 0; i < kBarriers; ++i) {
    Barrier& barrier = barriers[i];
    if (barrier.arrived == 0) continue;
    const unsigned expected = barrier.expected == 0 ? alive : barrier.expected;
    if (barrier.arrived < expected) continue;
    barrier = {};
    for (Warp& warp : warps)
      if (warp.barrier() == static_cast<int>(i)) warp.pass();
  }
}

void add_control(Forms& forms) {
  forms.emplace("bra", Form{&branch, 0, {}});
  forms.emplace("bra.uni", Form{&branch, 0, {}});
  forms.emplace("@bra", Form{&branch_if<false>, 0, {0}});
  forms.emplace("@!bra", Form{&branch_if<true>, 0, {0}});
  forms.emplace("@bra.uni", Form{&branch_uniformly<false>, 0, {0}});
  forms.emplace("@!bra.uni", Form{&branch_uniformly<true>, 0, {0}});
  for (const char* end : {"ret", "exit"}) forms.emplace(end, Form{&exit, 0, {}});
  forms.emplace("trap", Form{&trap, 0, {}});
  forms.emplace("griddepcontrol.wait", Form{&wait_for_grids, 0, {}});
  forms.emplace("griddepcontrol.launch_dependents", Form{&launch_dependents, 0, {}});
  for (const char* opcode : {"membar.cta", "fence.acq_rel.cta", "fence.sc.cta"})
    forms.emplace(opcode, Form{&fence<Scope::kBlock>, 0, {}});
  for (const char* opcode : {"membar.gl", "fence.acq_rel.gpu", "fence.sc.gpu"})
    forms.emplace(opcode, Form{&fence<Scope::kDevice>, 0, {}});
  for (const char* opcode : {"membar.sys", "fence.acq_rel.sys", "fence.sc.sys"})
    forms.emplace(opcode, Form{&fence<Scope::kSystem>, 0, {}});
  for (const char* opcode : {"bar.sync", "bar.cta.sync", "barrier.sync.aligned"}) {
    forms.emplace(opcode, Form{&barrier<false>, 0, {4}});
    forms.emplace(opcode, Form{&barrier<true>, 0, {4, 4}});
  }
}

}  // namespace hearth::ptx
