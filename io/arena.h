// A large piece of anonymous memory, taken once and given back once; parts of it also in between.
// A forked process has none of it: of what is registered with io_uring, a fork would copy each
// page.
#pragma once

#include <cstddef>
#include <span>

#include "base/units.h"

namespace hearth::io {

class Arena {
 public:
  enum class Pages {
    kDefault,
    kHuge,  // transparent huge pages where the system grants them on request
  };

  static constexpr std::size_t kAlignment = 64;  // of the pieces, where nothing else is asked for

  Arena() = default;
  // Maps `size` bytes, 2 MiB aligned, and touches every page, so that nothing faults later.
  // Throws Error(kBudget) when the system refuses.
  explicit Arena(Bytes size, Pages pages = Pages::kHuge);
  ~Arena();
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  std::span<std::byte> bytes() const { return {data_, size_}; }
  bool empty() const { return size_ == 0; }

  // Carves the next piece off the front; CHECKs that it fits. `alignment` is a power of two.
  std::span<std::byte> take(Bytes size, std::size_t alignment = kAlignment);
  Bytes remaining() const { return Bytes(size_ - taken_); }

  // The whole pages inside of a part return to the system, and what they held is lost; nobody may
  // touch the part, nor a device write to it, before it is taken again, with any contents. Both
  // throw Error(kBudget) when the system refuses, and what is not taken again remains given back.
  // Pages that the program locked (mlockall) return too, and are locked when they are taken again.
  void give_back(std::span<std::byte> part);
  void take_again(std::span<std::byte> part);
  // All that can fail of giving a part back, for who cannot undo what comes before that: unlocks
  // it, for good, where the system (before Linux 5.18) takes no locked pages. Error(kBudget).
  void allow_giving_back(std::span<std::byte> part);

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t taken_ = 0;
};

}  // namespace hearth::io
