// Which bytes of global memory a launch has written, where it also reads some by ld.global.nc: that
// path may keep what it read once, and "the data must be read-only" while the kernel runs.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <unordered_map>

namespace hearth::ptx {

class Written {
 public:
  // Both: aligned accesses of at most 32 bytes.
  void add(std::uintptr_t address, std::size_t bytes) {
    least_ = std::min(least_, address);
    end_ = std::max(end_, address + bytes);
    if (address / kPage != last_page_ || last_ == nullptr) {
      last_page_ = address / kPage;
      last_ = &pages_[last_page_];
    }
    (*last_)[address % kPage / 64] |= mask(address, bytes);
  }
  bool has(std::uintptr_t address, std::size_t bytes) const {
    if (address >= end_ || address + bytes <= least_) return false;
    const auto page = pages_.find(address / kPage);
    return page != pages_.end() && (page->second[address % kPage / 64] & mask(address, bytes)) != 0;
  }

 private:
  static constexpr std::uintptr_t kPage = 4096;
  using Page = std::array<std::uint64_t, kPage / 64>;  // a bit for each byte

  static std::uint64_t mask(std::uintptr_t address, std::size_t bytes) {
    return ((std::uint64_t{1} << bytes) - 1) << address % 64;
  }

  std::unordered_map<std::uintptr_t, Page> pages_;
  std::uintptr_t last_page_ = 0;
  Page* last_ = nullptr;
  std::uintptr_t least_ = ~std::uintptr_t{0}, end_ = 0;
};

}  // namespace hearth::ptx
