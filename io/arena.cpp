#include "io/arena.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace hearth::io {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

// Faults every page in with one call where the kernel knows how (5.14), else by touching it.
void touch_all(std::byte* data, std::size_t size) {
#ifdef MADV_POPULATE_WRITE
  if (madvise(data, size, MADV_POPULATE_WRITE) == 0) return;
#endif
  for (std::size_t at = 0; at < size; at += 4096) data[at] = std::byte{0};
}

}  // namespace

Arena::Arena(Bytes size, Pages pages) {
  if (size.count == 0) return;
  size_ = round_up(size.count, 4096);
  // Mapped with room to align by hand, then trimmed: mmap itself promises only 4 KiB.
  const std::size_t mapped = size_ + kHugePage;
  void* base = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED)
    throw_error(ErrorCode::kBudget, "cannot map {} MiB of memory: {}; lower --ram or --ctx-size",
                size.count >> 20, std::strerror(errno));
  auto* const begin = static_cast<std::byte*>(base);
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  const std::size_t front = round_up(address, kHugePage) - address;
  data_ = begin + front;
  if (front > 0) munmap(begin, front);
  if (kHugePage > front) munmap(data_ + size_, kHugePage - front);
  if (pages == Pages::kHuge) madvise(data_, size_, MADV_HUGEPAGE);  // best effort
  touch_all(data_, size_);
}

Arena::~Arena() {
  if (data_ != nullptr) munmap(data_, size_);
}

Arena::Arena(Arena&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      taken_(std::exchange(other.taken_, 0)) {}

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(taken_, other.taken_);
  return *this;
}

std::span<std::byte> Arena::take(Bytes size, std::size_t alignment) {
  const std::size_t begin = round_up(taken_, alignment);
  CHECK_LE(begin + size.count, size_);
  taken_ = begin + size.count;
  return bytes().subspan(begin, size.count);
}

}  // namespace hearth::io
