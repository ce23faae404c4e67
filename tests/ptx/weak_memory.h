// Global memory as a card may show it, where the default of the interpreter is one memory that all
// threads see at once: what a multiprocessor has read may be old, and what it has written may be
// seen late and in another order, as long as nothing orders it (PTX ISA, "Memory Consistency
// Model").
//
//   block ── copies of its multiprocessor ──────────────────────────┬── memory of the device
//        └── its copies for ld.global.nc ── copies of the device ───┴── memory of the host
//
// - Weak loads and stores are of copies, of which a launch begins with none. Those for ld.global.nc
//   stay until it ends. A store is seen by the own block at once, by others when something puts it
//   there: the end of the launch, a release or fence by a thread of the block, another line that
//   takes the place, time, chance. The bytes of one address are in order, and nothing else is.
// - A fence or acquire forgets what was read. For .gpu, what the device has of the host's memory
//   stays, and what it wrote there is kept back from the host; .sys reaches both ways.
// - .cta orders nothing beyond the block. .volatile and .relaxed see memory itself, or the device's
//   copies where .gpu names memory of the host. Atomics are always of memory itself.
//
// Stronger than the model, so that it does not show what is wrong there: within a block all is in
// order (the emulation finds races); a fence by one thread counts for what its whole block has
// written; what is read for the first time is new, for no load runs ahead of one before it; a block
// shares its multiprocessor only with those that come after it; launches at once share no copies,
// as if each had a device. Streams, copies and stream memory operations see memory itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/ptx/code.h"
#include "tests/ptx/noise.h"
#include "tests/ptx/reach.h"

namespace hearth::ptx {

// Lines of what is behind: of memory, or for memory of the host of other copies. Two lines that
// want the same place take it from each other.
class Copies {
 public:
  Copies(const Reach&, Noise&, unsigned lines, Copies* of_host);

  // Where the bytes may be read, and written if that is said, before the next call. They lie in
  // one line.
  std::byte* at(std::byte* memory, std::size_t bytes, bool write);
  // What was written there is seen from here on, and what was read is forgotten.
  void settle(std::byte* memory, std::size_t bytes);
  void write_back();
  void forget();  // what was read, not what was written

 private:
  static constexpr std::uintptr_t kLine = 64;  // bytes, each of which has a bit in masks
  struct Line {
    std::byte* begin = nullptr;  // of memory
    std::uint64_t known = 0, written = 0;
    std::byte bytes[kLine];
  };

  static std::uint64_t mask(std::uintptr_t address, std::size_t bytes);
  Line& place(std::byte* begin);
  std::byte* behind(std::byte* memory, std::size_t bytes, bool write);
  void fill(Line&);
  void write_back(Line&, std::uint64_t which);

  const Reach& reach_;
  Copies* const of_host_;
  const std::uint64_t salt_;
  std::vector<Line> lines_;
};

// What the blocks see that run in one place of a launch, one after the other.
class Multiprocessor {
 public:
  Multiprocessor(const Reach&, Noise&, unsigned lines, Copies& of_host);

  // Weak accesses.
  void load(std::byte* memory, std::size_t bytes, bool read_only, std::byte* to);
  void store(std::byte* memory, std::size_t bytes, const std::byte* from);
  // Where a strong access happens, before the next call.
  std::byte* strong(std::byte* memory, std::size_t bytes, bool write, Scope);
  void acquire(Scope);
  void release(Scope);

 private:
  const Reach& reach_;
  Noise& noise_;
  Copies& of_host_;
  Copies copies_, read_only_;
};

// Of a launch.
class WeakMemory {
 public:
  WeakMemory(const Reach&, Noise&, std::size_t multiprocessors);

  Multiprocessor& multiprocessor(std::size_t i) { return multiprocessors_[i]; }
  // Between turns of blocks, of which some went on or all waited: sooner or later all that was
  // written is seen.
  void pass_time(bool went_on);
  void end();  // all that was written is there

 private:
  Noise& noise_;
  const unsigned lines_;
  Copies of_host_;
  std::vector<Multiprocessor> multiprocessors_;
};

}  // namespace hearth::ptx
