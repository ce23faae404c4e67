#include "tests/ptx/weak_memory.h"

#include <bit>
#include <chrono>
#include <cstring>
#include <thread>

namespace hearth::ptx {
namespace {

// From a card that has forgotten nearly all it read, to one that keeps everything of a small
// kernel.
constexpr unsigned kFewestLines = 16;
constexpr unsigned kDoublings = 7;

// Of accesses that reach memory itself by chance, so that what is new comes before what is old, and
// loops that wait have an end.
constexpr unsigned kSettledStores = 4, kSettledLoads = 16;       // one of so many
constexpr unsigned kTurnsUntilSeen = 4, kWaitsUntilSeen = 2048;  // some milliseconds, both

// Of launches that are slow to end, so that the host looks on before all is there.
constexpr unsigned kSlowEnds = 4;  // one of so many
constexpr auto kSlowEnd = std::chrono::microseconds(50);

}  // namespace

Copies::Copies(const Reach& reach, Noise& noise, unsigned lines, Copies* of_host)
    : reach_(reach), of_host_(of_host), salt_(noise.next()), lines_(lines) {}

std::uint64_t Copies::mask(std::uintptr_t address, std::size_t bytes) {
  const std::uint64_t low = bytes == kLine ? ~std::uint64_t{0} : (std::uint64_t{1} << bytes) - 1;
  return low << address % kLine;
}

Copies::Line& Copies::place(std::byte* begin) {
  const std::uint64_t mixed =
      (reinterpret_cast<std::uintptr_t>(begin) / kLine ^ salt_) * 0x9e3779b97f4a7c15;
  return lines_[(mixed >> 32) % lines_.size()];
}

std::byte* Copies::behind(std::byte* memory, std::size_t bytes, bool write) {
  return of_host_ != nullptr && reach_.is_of_host(memory) ? of_host_->at(memory, bytes, write)
                                                          : memory;
}

// Of a line some bytes may be no memory of a launch. They are of the same page, and nobody reads
// them here.
void Copies::fill(Line& line) {
  const std::byte* const from = behind(line.begin, kLine, false);
  for (unsigned i = 0; i < kLine; ++i)
    if (!(line.known >> i & 1)) line.bytes[i] = from[i];
  line.known = ~std::uint64_t{0};
}

void Copies::write_back(Line& line, std::uint64_t which) {
  which &= line.written;
  line.written &= ~which;
  while (which != 0) {
    const auto first = static_cast<unsigned>(std::countr_zero(which));
    const auto bytes = static_cast<unsigned>(std::countr_one(which >> first));
    std::memcpy(behind(line.begin + first, bytes, true), line.bytes + first, bytes);
    which &= ~mask(first, bytes);
  }
}

std::byte* Copies::at(std::byte* memory, std::size_t bytes, bool write) {
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  const std::uint64_t wanted = mask(address, bytes);
  std::byte* const begin = memory - address % kLine;
  Line& line = place(begin);
  if (line.begin != begin) {
    write_back(line, ~std::uint64_t{0});
    line.begin = begin;
    line.known = 0;
  }
  if (write) {
    line.written |= wanted;
    line.known |= wanted;
  } else if ((wanted & ~line.known) != 0) {
    fill(line);
  }
  return line.bytes + address % kLine;
}

void Copies::settle(std::byte* memory, std::size_t bytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  std::byte* const begin = memory - address % kLine;
  Line& line = place(begin);
  if (line.begin != begin) return;
  write_back(line, mask(address, bytes));
  line.known &= ~mask(address, bytes);
}

void Copies::write_back() {
  for (Line& line : lines_) write_back(line, ~std::uint64_t{0});
}

void Copies::forget() {
  for (Line& line : lines_) line.known = line.written;
}

Multiprocessor::Multiprocessor(const Reach& reach, Noise& noise, unsigned lines, Copies& of_host)
    : reach_(reach),
      noise_(noise),
      of_host_(of_host),
      copies_(reach, noise, lines, &of_host),
      read_only_(reach, noise, lines, &of_host) {}

void Multiprocessor::load(std::byte* memory, std::size_t bytes, bool read_only, std::byte* to) {
  Copies& from = read_only ? read_only_ : copies_;
  if (!read_only && noise_.below(kSettledLoads) == 0) from.settle(memory, bytes);
  std::memcpy(to, from.at(memory, bytes, false), bytes);
}

void Multiprocessor::store(std::byte* memory, std::size_t bytes, const std::byte* from) {
  std::memcpy(copies_.at(memory, bytes, true), from, bytes);
  if (noise_.below(kSettledStores) == 0) copies_.settle(memory, bytes);
}

std::byte* Multiprocessor::strong(std::byte* memory, std::size_t bytes, bool write, Scope scope) {
  if (scope == Scope::kBlock) return copies_.at(memory, bytes, write);
  copies_.settle(memory, bytes);
  const bool kept = scope == Scope::kDevice && reach_.is_of_host(memory);
  if (kept && noise_.below(kSettledLoads) != 0) return of_host_.at(memory, bytes, write);
  of_host_.settle(memory, bytes);
  return memory;
}

void Multiprocessor::acquire(Scope scope) {
  if (scope == Scope::kBlock) return;
  copies_.forget();
  if (scope == Scope::kSystem) of_host_.forget();
}

void Multiprocessor::release(Scope scope) {
  if (scope == Scope::kBlock) return;
  copies_.write_back();
  if (scope == Scope::kSystem) of_host_.write_back();
}

WeakMemory::WeakMemory(const Reach& reach, Noise& noise, std::size_t multiprocessors)
    : noise_(noise),
      lines_(kFewestLines << noise.below(kDoublings)),
      of_host_(reach, noise, lines_, nullptr) {
  multiprocessors_.reserve(multiprocessors);
  for (std::size_t i = 0; i < multiprocessors; ++i)
    multiprocessors_.emplace_back(reach, noise, lines_, of_host_);
}

void WeakMemory::pass_time(bool went_on) {
  const unsigned turns = went_on ? kTurnsUntilSeen : kWaitsUntilSeen;
  for (Multiprocessor& each : multiprocessors_)
    if (noise_.below(turns) == 0) each.release(Scope::kSystem);
}

void WeakMemory::end() {
  if (noise_.below(kSlowEnds) == 0) std::this_thread::sleep_for(kSlowEnd);
  for (Multiprocessor& each : multiprocessors_) each.release(Scope::kSystem);
}

}  // namespace hearth::ptx
