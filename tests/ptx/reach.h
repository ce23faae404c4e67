// Which memory a launch may reach: remembers what the address space has said.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/ptx/interpreter.h"

namespace hearth::ptx {

class Reach {
 public:
  // `known`: the variables of the module.
  Reach(const AddressSpace& space, std::vector<Range> known, std::size_t instructions)
      : space_(space), alias_(space.alias()), ranges_(std::move(known)), last_(instructions, 0) {
    if (ranges_.empty()) ranges_.push_back({0, 0, false});
  }

  // Where memory that was found at an address lies.
  std::byte* place(std::uintptr_t address) const {
    return reinterpret_cast<std::byte*>(
        address + (address - alias_.begin < alias_.bytes ? alias_.distance : 0));
  }

  // Of memory that was found, by where it lies. Variables of modules count as the host's.
  bool is_of_host(const std::byte* place) const {
    const auto begin = alias_.begin + alias_.distance;
    return reinterpret_cast<std::uintptr_t>(place) - begin >= alias_.bytes;
  }

  // The range in which the instruction last found what it reached for: most likely the next, too.
  const Range& likely(std::size_t pc) const { return ranges_[last_[pc]]; }
  bool has(std::size_t pc, std::uintptr_t address, std::size_t bytes, bool write) {
    for (std::size_t i = 0; i < ranges_.size(); ++i)
      if (contains(ranges_[i], address, bytes, write)) {
        last_[pc] = static_cast<std::uint32_t>(i);
        return true;
      }
    const Range range = space_.around(address);
    if (!contains(range, address, bytes, write)) return false;
    last_[pc] = static_cast<std::uint32_t>(ranges_.size());
    ranges_.push_back(range);
    return true;
  }

 private:
  static bool contains(const Range& range, std::uintptr_t address, std::size_t bytes, bool write) {
    return address >= range.begin && address < range.end && bytes <= range.end - address &&
           (range.writable || !write);
  }

  const AddressSpace& space_;
  const AddressSpace::Alias alias_;
  std::vector<Range> ranges_;
  std::vector<std::uint32_t> last_;
};

}  // namespace hearth::ptx
