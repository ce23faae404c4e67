#include "io/arena.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace hearth::io {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kAddressable = std::size_t{1} << 47;  // of a process, on every 64-bit machine

[[noreturn]] void refuse(Bytes size, int error) {
  throw_error(ErrorCode::kBudget, "cannot take {} MiB of memory: {}; lower --ram or --ctx-size",
              size.count >> 20, std::strerror(error));
}

// Maps `size` bytes at a multiple of kHugePage: with room to align by hand, then trimmed, because
// mmap itself promises only whole pages.
std::byte* map_aligned(std::size_t size) {
  void* const base =
      mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  auto* const begin = static_cast<std::byte*>(base);
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  const std::size_t front = round_up(address, kHugePage) - address;
  if (front > 0) munmap(begin, front);
  if (kHugePage > front) munmap(begin + front + size, kHugePage - front);
  return begin + front;
}

// Faults every page in, huge ones where they were advised; 0 or an errno. MADV_POPULATE_WRITE
// (Linux 5.14) reports a lack of memory that touching would turn into a signal.
int populate(std::byte* data, std::size_t size) {
#ifdef MADV_POPULATE_WRITE
  if (madvise(data, size, MADV_POPULATE_WRITE) == 0) return 0;
  if (errno != EINVAL) return errno;  // EINVAL: an older kernel
#endif
  for (std::size_t at = 0; at < size; at += kPage) data[at] = std::byte{0};
  return 0;
}

}  // namespace

Arena::Arena(Bytes size, Pages pages) {
  if (size.count == 0) return;
  if (size.count > kAddressable) refuse(size, ENOMEM);
  const std::size_t mapped = round_up(size.count, kPage);
  std::byte* const data = map_aligned(mapped);
  if (data == nullptr) refuse(size, errno);
  if (pages == Pages::kHuge) madvise(data, mapped, MADV_HUGEPAGE);  // best effort
  madvise(data, mapped, MADV_DONTFORK);                             // likewise
  if (const int error = populate(data, mapped); error != 0) {
    munmap(data, mapped);
    refuse(size, error);
  }
  data_ = data;
  size_ = mapped;
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
  CHECK_LE(begin, size_);
  CHECK_LE(size.count, size_ - begin);
  taken_ = begin + size.count;
  return bytes().subspan(begin, size.count);
}

namespace {

std::span<std::byte> whole_pages(std::span<std::byte> part) {
  const auto address = reinterpret_cast<std::uintptr_t>(part.data());
  const std::size_t front = round_up(address, kPage) - address;
  if (front >= part.size()) return {};
  return part.subspan(front, (part.size() - front) / kPage * kPage);
}

// MADV_DONTNEED fails for locked pages. Linux 5.18 has another for those, which headers may lack,
// and says so where the range is empty.
constexpr int kDontNeedLocked = 24;  // MADV_DONTNEED_LOCKED
bool takes_locked_pages() { return madvise(nullptr, 0, kDontNeedLocked) == 0; }

[[noreturn]] void refuse_to_take_back(std::span<std::byte> pages, int error) {
  throw_error(ErrorCode::kBudget, "the system does not take {} MiB of memory back: {}",
              pages.size() >> 20, std::strerror(error));
}

}  // namespace

void Arena::allow_giving_back(std::span<std::byte> part) {
  const std::span<std::byte> pages = whole_pages(part);
  if (pages.empty() || takes_locked_pages()) return;
  if (munlock(pages.data(), pages.size()) != 0) refuse_to_take_back(pages, errno);
}

void Arena::give_back(std::span<std::byte> part) {
  const std::span<std::byte> pages = whole_pages(part);
  if (pages.empty()) return;
  allow_giving_back(part);
  const int advice = takes_locked_pages() ? kDontNeedLocked : MADV_DONTNEED;
  if (madvise(pages.data(), pages.size(), advice) != 0) refuse_to_take_back(pages, errno);
}

void Arena::take_again(std::span<std::byte> part) {
  const std::span<std::byte> pages = whole_pages(part);
  if (pages.empty()) return;
  const int error = populate(pages.data(), pages.size());
  if (error == 0) return;
  give_back(part);
  refuse(Bytes(pages.size()), error);
}

}  // namespace hearth::io
