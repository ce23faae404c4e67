#include "tests/ptx/warp.h"

#include <algorithm>

namespace hearth::ptx {

Warp::Warp(Launch& launch, Block& block, unsigned first_thread)
    : launch_(launch),
      block_(block),
      first_thread_(first_thread),
      registers_(launch.kernel.register_bytes) {
  launch.noise.fill(registers_);
}

void Warp::begin() {
  rows_[0] = registers_.data();
  rows_[1] = launch_.kernel.constants.data();
  waited_for_grids_ = 0;
  const Grid& grid = launch_.grid;
  const unsigned threads = grid.threads[0] * grid.threads[1] * grid.threads[2];
  const unsigned lanes = std::min(kLanes, threads - first_thread_);
  auto* special = reinterpret_cast<std::uint32_t(*)[kLanes]>(registers_.data());
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    const unsigned thread = first_thread_ + lane;
    special[kTidX][lane] = thread % grid.threads[0];
    special[kTidY][lane] = thread / grid.threads[0] % grid.threads[1];
    special[kTidZ][lane] = thread / grid.threads[0] / grid.threads[1];
    for (unsigned i = 0; i < 3; ++i) {
      special[kNtidX + i][lane] = grid.threads[i];
      special[kCtaidX + i][lane] = block_.index[i];
      special[kNctaidX + i][lane] = grid.blocks[i];
    }
    special[kLaneid][lane] = lane;
    special[kWarpid][lane] = first_thread_ / kLanes;
    lane_pc_[lane] = 0;
  }
  alive_ = lanes == kLanes ? kAllLanes : (1u << lanes) - 1;
  waiting_ = let_go_ = 0;
  barrier_ = -1;
  pc_ = 0;
  join_ = kNever;
  set_mask(alive_);
}

void Warp::set_mask(std::uint32_t mask) {
  mask_ = mask;
  for (unsigned lane = 0; lane < kLanes; ++lane) lanes_[lane] = 0 - (mask >> lane & 1);
}

void Warp::run() {
  budget_ = kQuantum;
  loads_of_a_wait_ = 0;
  keeps_group_ = false;
  waited_ = false;
  if (mask_ != (alive_ & ~waiting_)) {
    // Some lanes are elsewhere: perhaps the others wait for one of them.
    if (launch_.noise.below(2) == 0) choose_any_group();
    regroup();
  }
  const Instruction* code = launch_.kernel.code.data();
  while (budget_-- > 0) {
    if (pc_ >= join_) regroup();
    const Instruction& instruction = code[pc_++];
    instruction.execute(*this, instruction);
  }
}

// Puts one group in the place of the active lanes, as likely as each other, and has it go on for
// some time.
void Warp::choose_any_group() {
  for (unsigned lane = 0; lane < kLanes; ++lane)
    lane_pc_[lane] = lanes_[lane] ? pc_ : lane_pc_[lane];
  std::uint32_t left = alive_ & ~waiting_, chosen = 0;
  for (unsigned groups = 1; left != 0; ++groups) {
    const std::uint32_t first = lane_pc_[std::countr_zero(left)];
    std::uint32_t group = 0;
    for (unsigned lane = 0; lane < kLanes; ++lane)
      group |= left & std::uint32_t{lane_pc_[lane] == first} << lane;
    if (launch_.noise.below(groups) == 0) {
      chosen = group;
      pc_ = first;
    }
    left &= ~group;
  }
  set_mask(chosen);
  keeps_group_ = chosen != 0;
}

// The active lanes, if any, are at pc_. Chooses which go on.
void Warp::regroup() {
  for (unsigned lane = 0; lane < kLanes; ++lane)
    lane_pc_[lane] = lanes_[lane] ? pc_ : lane_pc_[lane];
  std::uint32_t ready = alive_ & ~waiting_;
  if (ready == 0) {
    if (alive_ == 0) return leave();
    // Those that wait may find nobody missing, now that others have left; but only then.
    if (alive_ == let_go_)
      fail(static_cast<unsigned>(std::countr_zero(alive_)),
           "lanes wait at a collective or barrier for others of their warp, which wait elsewhere "
           "or have left");
    let_go_ = alive_;
    ready = alive_;
    waiting_ = 0;
  }
  std::uint32_t least = kNever;
  for (unsigned lane = 0; lane < kLanes; ++lane)
    if (ready >> lane & 1) least = std::min(least, lane_pc_[lane]);
  if (!keeps_group_ || !(mask_ & ready)) pc_ = least;
  std::uint32_t mask = 0;
  join_ = kNever;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!(ready >> lane & 1)) continue;
    if (lane_pc_[lane] == pc_) mask |= 1u << lane;
    if (lane_pc_[lane] > pc_) join_ = std::min(join_, lane_pc_[lane]);
  }
  set_mask(mask);
}

void Warp::branch(std::uint32_t taken, std::size_t target) {
  taken &= mask_;
  if (taken == mask_) {
    pc_ = static_cast<std::uint32_t>(target);
    if (keeps_group_) regroup();
  } else if (taken != 0) {
    for (unsigned lane = 0; lane < kLanes; ++lane)
      if (taken >> lane & 1) lane_pc_[lane] = static_cast<std::uint32_t>(target);
    set_mask(mask_ & ~taken);
    regroup();
  }
}

void Warp::exit() {
  require_waited("ends");
  alive_ &= ~mask_;
  block_.alive -= static_cast<unsigned>(std::popcount(mask_));
  set_mask(0);
  block_.open_barriers();
  regroup();
}

bool Warp::together(std::uint32_t wanted) {
  const std::uint32_t here = static_cast<std::uint32_t>(pc());
  std::uint32_t waiting_here = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane)
    waiting_here |= std::uint32_t{lane_pc_[lane] == here} << lane;
  const std::uint32_t come = mask_ | (waiting_here & waiting_);
  if ((wanted & alive_ & ~come) == 0) {
    waiting_ &= ~come;
    if (come != mask_) set_mask(come);
    return true;
  }
  for (unsigned lane = 0; lane < kLanes; ++lane)
    if (mask_ >> lane & 1) lane_pc_[lane] = here;
  waiting_ |= mask_;
  set_mask(0);
  regroup();
  return false;
}

void Warp::wait_at(unsigned barrier) {
  barrier_ = static_cast<int>(barrier);
  leave();
}

void Warp::may_be_waiting() {
  if (++loads_of_a_wait_ < kLoadsOfAWait) return;
  waited_ = true;
  leave();
}

void Warp::fail(unsigned lane, const std::string& what) const {
  const Grid& grid = launch_.grid;
  const unsigned thread = first_thread_ + lane;
  const auto three = [](unsigned x, unsigned y, unsigned z) {
    return "(" + std::to_string(x) + ", " + std::to_string(y) + ", " + std::to_string(z) + ")";
  };
  const std::size_t at = mask_ == 0 ? lane_pc_[lane] : pc();
  throw Error(launch_.kernel.name + ", PTX line " + std::to_string(launch_.kernel.lines[at]) +
              ", block " + three(block_.index[0], block_.index[1], block_.index[2]) + ", thread " +
              three(thread % grid.threads[0], thread / grid.threads[0] % grid.threads[1],
                    thread / grid.threads[0] / grid.threads[1]) +
              ": " + what);
}

std::string Warp::where() const {
  return "warp " + std::to_string(first_thread_ / kLanes) + " at barrier " +
         std::to_string(barrier_) + ", PTX line " + std::to_string(launch_.kernel.lines[pc()]);
}

}  // namespace hearth::ptx
