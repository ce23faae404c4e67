// A warp on its way through a kernel, and the block and launch that it belongs to.
//
// Lanes at the same instruction go on together. Of several such groups the one that is least far
// runs, until it meets another: so lanes that a branch has parted come together again behind it.
// Since lanes may wait for one another in loops, now and then a group runs that is not the least
// far.
//
// A lane is alive until it exits. It waits while others have yet to come to its collective or
// barrier.
#pragma once

#include <bit>
#include <cstring>
#include <string>

#include "tests/ptx/code.h"
#include "tests/ptx/noise.h"
#include "tests/ptx/reach.h"
#include "tests/ptx/weak_memory.h"
#include "tests/ptx/written.h"

namespace hearth::ptx {

class Warp;

// What all warps of a launch share. One thread runs them all.
struct Launch {
  const Kernel& kernel;
  const Grid& grid;
  std::span<const std::byte> parameters;
  Reach reach;
  Written written;
  Noise noise;
};

struct Block {
  static constexpr unsigned kBarriers = 16;
  struct Barrier {
    unsigned arrived = 0;   // threads
    unsigned expected = 0;  // 0: all that are alive
  };

  std::vector<Warp> warps;
  std::vector<std::byte> shared;
  unsigned index[3] = {};
  unsigned alive = 0;  // threads
  Barrier barriers[kBarriers];
  Multiprocessor* copies = nullptr;  // none: global memory is what all see

  // Lets those through for whom nobody is missing any more.
  void open_barriers();
};

class Warp {
 public:
  Warp(Launch&, Block&, unsigned first_thread);

  void begin();  // of a block, whose index is set
  // Until it has run some thousands of instructions, or can run no more.
  void run();
  bool done() const { return alive_ == 0; }
  bool waited() const { return waited_; }  // in the last run, for others, as it seems
  bool at_barrier() const { return barrier_ >= 0; }
  std::string where() const;  // it stands, for a message

  // For instructions.
  template <typename T>
  const T* row(std::uint32_t operand) const {
    return reinterpret_cast<const T*>(rows_[operand >> 31] + (operand & ~kConstant));
  }
  template <typename T>
  void store(std::uint32_t operand, const T (&values)[kLanes]) {
    T* to = reinterpret_cast<T*>(registers_.data() + operand);
    if (mask_ == kAllLanes) {
      std::memcpy(to, values, sizeof values);
    } else {
      for (unsigned lane = 0; lane < kLanes; ++lane)
        to[lane] = lanes_[lane] ? values[lane] : to[lane];
    }
  }
  std::uint32_t mask() const { return mask_; }
  std::uint32_t alive() const { return alive_; }
  unsigned first_lane() const { return static_cast<unsigned>(std::countr_zero(mask_)); }
  Launch& launch() { return launch_; }
  Block& block() { return block_; }
  std::size_t pc() const { return pc_ - 1; }  // of the instruction that runs
  [[noreturn]] void fail(unsigned lane, const std::string& what) const;

  // `taken` of the active lanes go on there, the others here.
  void branch(std::uint32_t taken, std::size_t target);
  void exit();
  void wait_for_grids() { waited_for_grids_ |= mask_; }
  // Before griddepcontrol.wait, a kernel that has one does nothing that depends on the grids before
  // it, and ends no thread: its own end would be the end of theirs to the grid behind it.
  void require_waited(const char* what) const {
    const std::uint32_t early = mask_ & ~waited_for_grids_;
    if (launch_.kernel.waits && early != 0)
      fail(static_cast<unsigned>(std::countr_zero(early)),
           std::string(what) + " before griddepcontrol.wait");
  }
  // Whether all lanes of `wanted` that are alive are here with this instruction. If not, those that
  // are wait for them, and the instruction must return; it is run again when more have come.
  bool together(std::uint32_t wanted);
  // Of a block's barrier, after together(): the warp waits there.
  void wait_at(unsigned barrier);
  void pass() { barrier_ = -1; }
  int barrier() const { return barrier_; }
  // A load that may be one of a loop that waits for somebody else: lets others run.
  void may_be_waiting();

 private:
  static constexpr std::uint32_t kNever = ~0u;
  static constexpr int kQuantum = 8192;  // instructions
  static constexpr int kLoadsOfAWait = 64;

  void set_mask(std::uint32_t mask);
  void regroup();
  void choose_any_group();
  void leave() { budget_ = 0; }

  Launch& launch_;
  Block& block_;
  unsigned first_thread_;
  std::vector<std::byte> registers_;
  const std::byte* rows_[2];
  std::uint32_t pc_ = 0;
  std::uint32_t mask_ = 0;
  std::uint32_t join_ = kNever;  // where the next group ahead is
  std::uint32_t alive_ = 0, waiting_ = 0;
  std::uint32_t waited_for_grids_ = 0;
  std::uint32_t let_go_ = 0;  // alive lanes when those that waited were last run again
  bool keeps_group_ = false;  // for this time the least far is not preferred
  int budget_ = 0;
  int loads_of_a_wait_ = 0;
  bool waited_ = false;
  int barrier_ = -1;
  std::uint32_t lane_pc_[kLanes];
  alignas(32) std::uint32_t lanes_[kLanes];  // the mask, as a Flag for each lane
};

}  // namespace hearth::ptx
