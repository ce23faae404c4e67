// The memory that a device reaches: its own, and pinned memory of the host. All functions from any
// thread. Addresses of device memory are never given out twice, and freed memory is unmapped, so
// that a use after the end is one of no memory.
#pragma once

#include <driver_types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "base/units.h"
#include "tests/ptx/interpreter.h"

namespace hearth::cudart {

class Memory final : public ptx::AddressSpace {
 public:
  Memory();

  // Null where it does not fit beside what is in use. Multiples of 256 bytes, filled with noise.
  void* allocate(Bytes bytes);
  bool free(void* memory);

  // What else takes device memory: the context, kernels, graphs. False: no room.
  bool take(Bytes bytes);
  void give_back(Bytes bytes);
  Bytes in_use() const;

  enum class Origin { kAllocated, kRegistered };
  struct Pinned {
    std::size_t bytes;
    Origin origin;
    bool mapped;
  };
  void* allocate_pinned(std::size_t bytes, bool mapped);
  // Not where a page of it is pinned already.
  bool pin(std::byte* memory, std::size_t bytes, bool mapped);
  bool unpin(void* memory, Origin origin);
  static bool process_has(const void* memory, std::size_t bytes);
  bool is_mapped(const void* memory) const;

  enum class Kind { kDevice, kPinned, kPageable, kMixed };
  // Of a range that a copy names: whole in one allocation or registration, or in none at all.
  Kind kind_of(const void* memory, std::size_t bytes) const;
  // Whether a device reaches all of it now.
  bool reaches(const void* memory, std::size_t bytes) const;
  ptx::Range around(std::uintptr_t address) const override;
  Alias alias() const override;
  // Where memory of the device or of the host lies.
  std::byte* place(const void* memory) const;

  std::vector<std::string> leaks() const;

 private:
  struct Allocation {
    std::size_t bytes;
    std::byte* mapping;
    std::size_t mapped_bytes;
  };
  Bytes in_use_locked() const;

  mutable std::shared_mutex mutex_;
  std::map<std::uintptr_t, Allocation> device_;
  std::map<std::uintptr_t, Pinned> pinned_;
  std::byte* addresses_ = nullptr;  // of all device memory, reserved
  std::byte* places_ = nullptr;     // of what lies there
  std::byte* unused_ = nullptr;     // those not given out yet
  int noise_ = -1;                  // a file of random bytes, which new memory maps
  Bytes small_, large_, other_;
};

Memory& memory();

}  // namespace hearth::cudart
