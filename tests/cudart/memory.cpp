#include "tests/cudart/memory.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/random.h"
#include "tests/cudart/calls.h"
#include "tests/cudart/settings.h"
#include "tests/sanitized.h"

namespace hearth::cudart {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kNoise = 4 << 20;
// Of which a thread sanitizer leaves few.
constexpr std::size_t kAddresses = std::size_t{testing::kSanitized ? 256u : 16384u} << 30;
// Drivers take memory in pieces of 2 MiB, which small allocations share.
constexpr std::uint64_t kGranularity = 2 << 20;
constexpr std::size_t kSmall = 1 << 20;
constexpr std::size_t kAlignment = 256;  // "at least 256 bytes" (programming guide): and not more

int noise_file() {
  const int file = memfd_create("noise", MFD_CLOEXEC);
  CHECK(file >= 0);
  std::vector<std::uint64_t> words(kNoise / sizeof(std::uint64_t));
  Random random(settings().seed);
  for (auto& word : words) word = random.next();
  CHECK(write(file, words.data(), kNoise) == static_cast<ssize_t>(kNoise));
  return file;
}

// The entry of `ranges` that `address` lies in, or the end.
template <typename Ranges>
auto find(Ranges& ranges, std::uintptr_t address) {
  auto after = ranges.upper_bound(address);
  if (after == ranges.begin()) return ranges.end();
  --after;
  return address - after->first < after->second.bytes ? after : ranges.end();
}

template <typename Ranges>
bool overlaps(const Ranges& ranges, std::uintptr_t begin, std::uintptr_t end) {
  const auto next = ranges.lower_bound(begin);
  return find(ranges, begin) != ranges.end() || (next != ranges.end() && next->first < end);
}

template <typename Ranges>
bool contains(const Ranges& ranges, std::uintptr_t begin, std::size_t bytes) {
  const auto found = find(ranges, begin);
  return found != ranges.end() && begin + bytes <= found->first + found->second.bytes;
}

std::uintptr_t number(const void* memory) { return reinterpret_cast<std::uintptr_t>(memory); }

std::byte* reserve() {
  void* const addresses =
      mmap(nullptr, kAddresses, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(addresses != MAP_FAILED);
  return static_cast<std::byte*>(addresses);
}

}  // namespace

Memory::Memory()
    : addresses_(reserve()), places_(reserve()), unused_(addresses_), noise_(noise_file()) {}

Memory::Alias Memory::alias() const {
  return {.begin = number(addresses_),
          .bytes = kAddresses,
          .distance = number(places_) - number(addresses_)};
}

std::byte* Memory::place(const void* at) const {
  const std::uintptr_t offset = number(at) - number(addresses_);
  return offset < kAddresses ? places_ + offset
                             : const_cast<std::byte*>(static_cast<const std::byte*>(at));
}

Bytes Memory::in_use_locked() const {
  return Bytes(round_up(small_.count, kGranularity)) + large_ + other_;
}

Bytes Memory::in_use() const {
  const std::shared_lock lock(mutex_);
  return in_use_locked();
}

bool Memory::take(Bytes bytes) {
  const std::unique_lock lock(mutex_);
  if (in_use_locked() + bytes > settings().memory) return false;
  other_ += bytes;
  return true;
}

void Memory::give_back(Bytes bytes) {
  const std::unique_lock lock(mutex_);
  other_ -= bytes;
}

void* Memory::allocate(Bytes bytes) {
  const std::unique_lock lock(mutex_);
  Bytes& counted = bytes.count < kSmall ? small_ : large_;
  const Bytes taken(round_up(bytes.count, bytes.count < kSmall ? kAlignment : kGranularity));
  counted += taken;
  if (in_use_locked() > settings().memory) {
    counted -= taken;
    return nullptr;
  }
  const std::size_t skipped = draw() % (kPage / kAlignment) * kAlignment;
  const std::size_t mapped = round_up(skipped + bytes.count, kPage);
  std::byte* const begin = std::exchange(unused_, unused_ + mapped + kPage);
  for (std::size_t done = 0; done < mapped; done += kNoise)
    CHECK(mmap(place(begin) + done, std::min(kNoise, mapped - done), PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_FIXED, noise_, 0) != MAP_FAILED);
  device_[number(begin) + skipped] = {bytes.count, begin, mapped};
  return begin + skipped;
}

bool Memory::free(void* memory) {
  const std::unique_lock lock(mutex_);
  const auto found = device_.find(number(memory));
  if (found == device_.end()) return false;
  const Allocation gone = found->second;
  device_.erase(found);
  if (gone.bytes < kSmall)
    small_ -= Bytes(round_up(gone.bytes, kAlignment));
  else
    large_ -= Bytes(round_up(gone.bytes, kGranularity));
  CHECK(mmap(place(gone.mapping), gone.mapped_bytes, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED);
  return true;
}

void* Memory::allocate_pinned(std::size_t bytes, bool mapped) {
  void* const found =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (found == MAP_FAILED) return nullptr;
  // As it comes from the driver: nothing says that it is zeroed.
  std::fill_n(static_cast<std::byte*>(found), bytes, std::byte{0xa5});
  const std::unique_lock lock(mutex_);
  pinned_[number(found)] = {bytes, Origin::kAllocated, mapped};
  return found;
}

bool Memory::pin(std::byte* host, std::size_t bytes, bool mapped) {
  const std::unique_lock lock(mutex_);
  const std::uintptr_t begin = round_down(number(host), kPage);
  const std::uintptr_t end = round_up(number(host) + bytes, kPage);
  for (const auto& [at, pinned] : pinned_)
    if (round_down(at, kPage) < end && begin < round_up(at + pinned.bytes, kPage)) return false;
  pinned_[number(host)] = {bytes, Origin::kRegistered, mapped};
  return true;
}

// Asked of pages: fails where some are not mapped.
bool Memory::process_has(const void* host, std::size_t bytes) {
  const std::uintptr_t begin = round_down(number(host), kPage);
  const std::uintptr_t end = round_up(number(host) + bytes, kPage);
  return madvise(reinterpret_cast<void*>(begin), end - begin, MADV_NORMAL) == 0;
}

bool Memory::unpin(void* host, Origin origin) {
  const std::unique_lock lock(mutex_);
  const auto found = pinned_.find(number(host));
  if (found == pinned_.end() || found->second.origin != origin) return false;
  const std::size_t bytes = found->second.bytes;
  pinned_.erase(found);
  if (origin == Origin::kAllocated)
    CHECK(munmap(host, bytes) == 0);
  else if (!process_has(host, bytes))
    report_misuse("memory is unregistered that the process has given back before");
  return true;
}

bool Memory::is_mapped(const void* host) const {
  const std::shared_lock lock(mutex_);
  const auto found = find(pinned_, number(host));
  return found != pinned_.end() && found->second.mapped;
}

Memory::Kind Memory::kind_of(const void* range, std::size_t bytes) const {
  const std::shared_lock lock(mutex_);
  const std::uintptr_t begin = number(range), end = begin + bytes;
  if (contains(device_, begin, bytes)) return Kind::kDevice;
  if (contains(pinned_, begin, bytes)) return Kind::kPinned;
  const bool was_device = begin - number(addresses_) < kAddresses;
  return was_device || overlaps(pinned_, begin, end) ? Kind::kMixed : Kind::kPageable;
}

bool Memory::reaches(const void* range, std::size_t bytes) const {
  const Kind kind = kind_of(range, bytes);
  return kind == Kind::kDevice || kind == Kind::kPinned;
}

ptx::Range Memory::around(std::uintptr_t address) const {
  const std::shared_lock lock(mutex_);
  if (const auto found = find(device_, address); found != device_.end())
    return {.begin = found->first, .end = found->first + found->second.bytes, .writable = true};
  if (const auto found = find(pinned_, address); found != pinned_.end() && found->second.mapped)
    return {.begin = found->first, .end = found->first + found->second.bytes, .writable = true};
  return {};
}

std::vector<std::string> Memory::leaks() const {
  const std::shared_lock lock(mutex_);
  std::vector<std::string> lines;
  for (const auto& [at, allocation] : device_)
    lines.push_back(fmt::format("{} bytes of device memory at {:#x}", allocation.bytes, at));
  for (const auto& [at, pinned] : pinned_)
    lines.push_back(fmt::format(
        "{} bytes of {} at {:#x}", pinned.bytes,
        pinned.origin == Origin::kAllocated ? "cudaHostAlloc" : "cudaHostRegister", at));
  return lines;
}

Memory& memory() {
  static Memory* const of_device = new Memory;  // to the very end of the process
  return *of_device;
}

}  // namespace hearth::cudart
