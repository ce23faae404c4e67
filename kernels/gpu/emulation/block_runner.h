// Runs the blocks of a launch on the host: the threads of a block are fibers of the calling thread,
// and a fiber runs until a collective makes it wait, or until its kernel returns.
//
//   runs --exchange--> waits for its warp  --all lanes are there--> runs
//   runs --wait_for_block--> waits for its block --all threads are there--> runs
//   runs --kernel returns--> has returned
//
// What a GPU would answer with a hang or with wrong numbers is an EmulationError here: a lane that
// does not come to a collective (it waits elsewhere, or has returned), lanes in different
// collectives, an assertion, written guards around shared memory. Blocks run one after another, and
// both blocks and the threads of a block take turns in an order drawn from a seed, so that what
// depends on an order differs between seeds.
#pragma once

#include <cstdint>
#include <stdexcept>

#include "base/function_ref.h"
#include "kernels/gpu/launch_shape.h"

namespace hearth::kernels::emulated {

class EmulationError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Launch {
  LaunchShape shape;
  unsigned lanes = 32;  // of a warp, 32 or 64
  std::uint64_t seed = 0;
};

// Returns when all threads of all blocks have returned; else throws EmulationError. What lay on the
// stacks of a launch that failed is not destroyed: kernels own nothing.
void run_blocks(const Launch& launch, FunctionRef<void()> kernel);

// For the port alone, from inside a kernel.
struct ThisThread {
  LaunchShape shape;
  unsigned lanes = 0;
  unsigned index = 0;
  unsigned block_x = 0, block_y = 0, block_z = 0;
};
const ThisThread& this_thread();

struct Collective {
  enum Kind : std::uint32_t { kSync, kShuffle, kShuffleXor, kBallot, kMultiplyTiles };
  Kind kind;
  std::uint32_t parameter;
  bool operator==(const Collective&) const = default;
};
// The values that the lanes of the warp came with, in order of lanes; valid until this thread's
// next collective.
const std::uint64_t* exchange(Collective collective, std::uint64_t value);
void wait_for_block();
[[noreturn]] void fail(const char* file, int line, const char* what);

}  // namespace hearth::kernels::emulated
