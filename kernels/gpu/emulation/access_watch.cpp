#include "kernels/gpu/emulation/access_watch.h"

#include <bit>

namespace hearth::kernels::emulated {
namespace {

// Record::who: a thread of the block, a warp of which several lanes are meant, or several warps;
// beside it what else there was in the launch.
constexpr std::uint16_t kThreads = 0x03ff;
constexpr std::uint16_t kWarp = 0x0400;
constexpr std::uint16_t kSeveralWarps = 0x0800;
constexpr std::uint16_t kOtherBlocks = 0x1000;  // blocks before this one as well
constexpr std::uint16_t kConstant = 0x2000;     // of reads: also through the read-only path
constexpr std::uint16_t kAtomic = 0x4000;       // of writes: all of them are atomic

const char* kNames[][4] = {
    // After a write, by how the two were not ordered.
    {"", "reads what another block of the launch wrote",
     "reads what another thread wrote, and no barrier is between",
     "reads what another lane wrote, and no sync_lanes() is between"},
    {"", "writes what another block of the launch wrote",
     "writes what another thread wrote, and no barrier is between",
     "writes what another lane wrote, and no sync_lanes() is between"},
    // A write after a read.
    {"", "writes what another block of the launch read",
     "writes what another thread read, and no barrier is between",
     "writes what another lane read, and no sync_lanes() is between"}};

}  // namespace

void AccessWatch::begin_launch(unsigned threads, unsigned lanes) {
  log2_lanes_ = static_cast<unsigned>(std::countr_zero(lanes));
  lanes_epochs_.assign(threads / lanes, 0);
  launch_ = ++epoch_;
  accesses_ = 0;
}

void AccessWatch::begin_block() {
  pass_barrier();
  block_ = epoch_;
}

void AccessWatch::pass_barrier() {
  ++epoch_;
  for (std::uint16_t& one : lanes_epochs_) one = 0;
}

void AccessWatch::pass_lanes(unsigned thread) { ++lanes_epochs_[warp_of(thread)]; }

inline AccessWatch::Page& AccessWatch::page_of(std::uintptr_t address) {
  const std::uintptr_t number = address / kPageBytes;
  Cached& cached = cache_[number % cache_.size()];
  if (cached.number != number) {
    std::unique_ptr<Page>& page = pages_[number];
    if (page == nullptr) page = std::make_unique<Page>();
    cached = {number, page.get()};
  }
  return *cached.page;
}

// The records of the four bytes of a word, which begin as that of the word.
AccessWatch::Records* AccessWatch::divide(Page& page, std::size_t word) {
  if (page.bytes == nullptr) page.bytes = std::make_unique<std::array<Records, kPageBytes>>();
  Records* const bytes = &(*page.bytes)[word * kWord];
  if (page.divided_in[word] != launch_) {
    page.divided_in[word] = launch_;
    for (std::size_t i = 0; i < kWord; ++i) bytes[i] = page.words[word];
  }
  return bytes;
}

// Most accesses are of this kind: reads of what nobody writes, after threads of several warps.
inline bool AccessWatch::is_known(const Records& records, Access access) const {
  const unsigned all = kSeveralWarps | (access == Access::kConstantRead ? kConstant : 0);
  return (access == Access::kRead || access == Access::kConstantRead) &&
         records.write.epoch < since_ && records.read.epoch == epoch_ &&
         (records.read.who & all) == all;
}

const char* AccessWatch::access(unsigned thread, const void* at, std::size_t bytes, Access access,
                                bool shared) {
  ++accesses_;
  since_ = shared ? block_ : launch_ + 1;
  thread_ = static_cast<std::uint16_t>(thread);
  lanes_epoch_ = lanes_epochs_[warp_of(thread)];
  auto address = reinterpret_cast<std::uintptr_t>(at);
  const std::uintptr_t end = address + bytes;
  const char* wrong = nullptr;
  while (address < end && wrong == nullptr) {
    Page& page = page_of(address);
    const std::size_t word = address % kPageBytes / kWord, first = address % kWord;
    const std::size_t here = end - address < kWord - first ? end - address : kWord - first;
    if (here == kWord && page.divided_in[word] != launch_) {
      if (!is_known(page.words[word], access)) wrong = note(page.words[word], access);
    } else {
      Records* const of_bytes = divide(page, word);
      for (std::size_t i = first; i < first + here && wrong == nullptr; ++i)
        wrong = note(of_bytes[i], access);
    }
    address += here;
  }
  return wrong;
}

const char* AccessWatch::note(Records& records, Access access) {
  const bool written = records.write.epoch >= since_, read = records.read.epoch >= since_;
  const bool only_atomic = (records.write.who & kAtomic) != 0;
  if (access == Access::kConstantRead && written)
    return "reads through the read-only path what this launch wrote";
  if (access == Access::kRead || access == Access::kConstantRead) {
    if (const Order order = order_after(records.write); order != Order::kOrdered)
      return kNames[0][static_cast<int>(order)];
    merge(records.read, access == Access::kConstantRead ? kConstant : 0);
    return nullptr;
  }
  if (read && (records.read.who & kConstant) != 0)
    return "writes what this launch read through the read-only path";
  if (const Order order = order_after(records.read); order != Order::kOrdered)
    return kNames[2][static_cast<int>(order)];
  if (access == Access::kAtomic && (only_atomic || !written)) {
    merge(records.write, kAtomic);
    return nullptr;
  }
  if (const Order order = order_after(records.write); order != Order::kOrdered)
    return kNames[1][static_cast<int>(order)];
  const std::uint16_t kind = access == Access::kAtomic ? kAtomic : 0;
  records.write = {epoch_, static_cast<std::uint16_t>(thread_ | kind), lanes_epoch_};
  return nullptr;
}

AccessWatch::Order AccessWatch::order_after(const Record& record) const {
  if (record.epoch < since_) return Order::kOrdered;
  if (record.epoch < block_ || (record.who & kOtherBlocks) != 0) return Order::kOtherBlock;
  if (record.epoch < epoch_) return Order::kOrdered;
  if ((record.who & kSeveralWarps) != 0) return Order::kNoBarrier;
  const unsigned who = record.who & kThreads, warp = warp_of(thread_);
  const bool several_lanes = (record.who & kWarp) != 0;
  if (!several_lanes && who == thread_) return Order::kOrdered;
  if ((several_lanes ? who : warp_of(who)) != warp) return Order::kNoBarrier;
  return record.lanes_epoch == lanes_epoch_ ? Order::kNoSyncLanes : Order::kOrdered;
}

// Adds this access to those that the record stands for. Threads of an epoch that came before are
// forgotten, since whatever comes after this access comes after them.
void AccessWatch::merge(Record& record, std::uint16_t flags) const {
  if (record.epoch >= since_) {
    flags |= record.who & (kOtherBlocks | kConstant);
    if (record.epoch < block_) flags |= kOtherBlocks;
  }
  std::uint16_t who = thread_;
  if (record.epoch == epoch_) {
    const std::uint16_t warp = static_cast<std::uint16_t>(warp_of(thread_));
    const bool several_lanes = (record.who & kWarp) != 0;
    const unsigned before = record.who & kThreads;
    if ((record.who & kSeveralWarps) != 0 || (several_lanes ? before : warp_of(before)) != warp)
      who = kSeveralWarps;
    else if (record.lanes_epoch == lanes_epoch_ && (several_lanes || before != thread_))
      who = kWarp | warp;
  }
  record = {epoch_, static_cast<std::uint16_t>(who | flags), lanes_epoch_};
}

}  // namespace hearth::kernels::emulated
