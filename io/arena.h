// A large piece of anonymous memory, taken once and given back once.
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

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t taken_ = 0;
};

}  // namespace hearth::io
