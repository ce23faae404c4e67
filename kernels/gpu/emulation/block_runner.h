// Runs the blocks of a launch on the host: the threads of a block are fibers of the calling thread,
// and a fiber runs until a collective makes it wait, or until its kernel returns.
//
//   runs --exchange--> waits for its warp  --all lanes are there--> runs
//   runs --wait_for_block--> waits for its block --all threads are there--> runs
//   runs --kernel returns--> has returned
//
// What a GPU would answer with a hang or with wrong numbers is an EmulationError here: a lane that
// does not come to a collective (it waits elsewhere, or has returned), lanes in different
// collectives, an assertion, written guards around shared memory, accesses that are not aligned,
// those that nothing orders (access_watch.h), or that come before wait_for_previous(). Blocks run
// one after another, and both blocks and the threads of a block take turns: in their order,
// backwards, or in one drawn from the seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

#include "base/function_ref.h"
#include "kernels/gpu/emulation/access_watch.h"
#include "kernels/gpu/launch_shape.h"

namespace hearth::kernels::emulated {

class EmulationError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Seeds of orders that are not drawn.
inline constexpr std::uint64_t kForwards = 0;
inline constexpr std::uint64_t kBackwards = 1;

struct Launch {
  LaunchShape shape;
  unsigned lanes = 32;  // of a warp, 32 or 64
  std::uint64_t seed = 0;
  const void* kernel = nullptr;     // which one it is
  std::span<const std::byte> call;  // where its arguments are, which may be read at any time
};

// Returns when all threads of all blocks have returned; else throws EmulationError. What lay on the
// stacks of a launch that failed is not destroyed: kernels own nothing.
void run_blocks(const Launch& launch, FunctionRef<void()> kernel);

// For the port alone, from inside a kernel. None of this is compiled with the kernels, whose every
// access is noted.
unsigned lanes();
unsigned thread_index();
unsigned block_threads();
unsigned block_x();
unsigned block_y();
unsigned block_z();
unsigned grid_x();

struct Collective {
  enum Kind : std::uint32_t { kSync, kShuffle, kShuffleXor, kBallot, kMultiplyTiles, kAfterLoads };
  Kind kind;
  std::uint32_t parameter;
  unsigned line;  // of the source: lanes of a warp meet at one place
  bool operator==(const Collective&) const = default;
};
// The values that the lanes of the warp came with, in order of lanes; valid until this thread's
// next collective.
const std::uint64_t* exchange(Collective collective, std::uint64_t value);
void wait_for_block(unsigned line);
[[noreturn]] void fail(const char* file, int line, const char* what);

// The first thing of every kernel: a thread that accesses memory before it, or returns without it,
// fails.
void wait_for_previous();
// Accesses nothing, and finds a place that there is not.
void prefetch(const void* at);
// Those of this thread of the host are noted there; null: nowhere.
void note_prefetches(std::vector<const void*>* places);

void require_aligned(const void* at, std::size_t bytes);
// Through the read-only path: of global memory, at a multiple of `bytes`.
std::uint64_t load_constant(const void* at, std::size_t bytes);
void load_constant(const void* at, std::size_t bytes, void* to);
// An atomic operation of a thread is a read and a write, between which no other runs.
std::uint64_t read_atomic(const void* at, std::size_t bytes);
void write_atomic(void* at, std::uint64_t value, std::size_t bytes);
std::uint32_t load_flag(const std::uint32_t* at);
void store_flag(std::uint32_t* at, std::uint32_t value);

// Whether this thread of the host runs a fiber whose accesses are watched. Watching takes most of
// the time: it goes on until a kernel has had a million accesses in a thread of the host, and is
// for one of 16 launches then; with HEARTH_WATCH=all, for all of them.
extern constinit thread_local bool accesses_watched;
// What the compiler says of an access while they are; `code` is where it is. Unless it is unaligned
// by its type, it is at a multiple of `bytes`.
void note_access(const void* at, std::size_t bytes, Access access, const void* code);
void note_unaligned_access(const void* at, std::size_t bytes, Access access, const void* code);

}  // namespace hearth::kernels::emulated
