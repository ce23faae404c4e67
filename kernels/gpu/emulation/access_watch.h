// Who read and wrote each byte during a launch, and whether what orders two accesses on a GPU was
// there between them. It knows nothing of fibers, and needs no unlucky order to find a race.
//
// What orders two accesses of different threads, of which one writes:
// - a barrier of their block between them;
// - for two lanes of one warp, sync_lanes() between them. Lanes are not in lock step, and shuffles
//   and ballots order no memory: neither CUDA nor HIP promises that they do.
// Atomics do not conflict with one another. Nothing orders accesses of two blocks of a launch: no
// kernel has threads that wait for another block, or a last block that finishes for all.
//
// Each word of four bytes has a record of the last write and of the last read; where threads of one
// epoch share the part of "last", it says how many they are, not who. A word that is accessed by
// less than all its bytes has records for each of them, until the launch ends.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

namespace hearth::kernels::emulated {

enum class Access : std::uint8_t {
  kRead,
  kWrite,
  kAtomic,
  // Through the read-only path, whose cache sees no write of the launch, not even the thread's own.
  kConstantRead,
};

class AccessWatch {
 public:
  void begin_launch(unsigned threads, unsigned lanes);
  void begin_block();
  void pass_barrier();               // all threads of the block
  void pass_lanes(unsigned thread);  // the lanes of the warp of `thread`

  std::uint64_t accesses() const { return accesses_; }  // of this launch
  // Null, or what is wrong: "reads what another thread wrote, and no barrier is between". Shared
  // memory is the block's own, although other blocks find theirs at the same place.
  const char* access(unsigned thread, const void* at, std::size_t bytes, Access access,
                     bool shared);

 private:
  // Of the accesses of one kind that came last.
  struct Record {
    std::uint32_t epoch = 0;  // counted over all launches
    std::uint16_t who = 0;
    std::uint16_t lanes_epoch = 0;
  };
  struct Records {
    Record write, read;
  };
  static constexpr std::size_t kPageBytes = 4096;
  static constexpr std::size_t kWord = 4;
  struct Page {
    std::array<Records, kPageBytes / kWord> words;
    std::array<std::uint32_t, kPageBytes / kWord> divided_in = {};  // the launch
    std::unique_ptr<std::array<Records, kPageBytes>> bytes;
  };
  struct Cached {
    std::uintptr_t number = ~std::uintptr_t{0};
    Page* page = nullptr;
  };
  enum class Order : std::uint8_t { kOrdered, kOtherBlock, kNoBarrier, kNoSyncLanes };

  Page& page_of(std::uintptr_t address);
  Records* divide(Page& page, std::size_t word);
  bool is_known(const Records& records, Access access) const;
  const char* note(Records& records, Access access);
  Order order_after(const Record& record) const;
  void merge(Record& record, std::uint16_t flags) const;

  unsigned warp_of(unsigned thread) const { return thread >> log2_lanes_; }

  unsigned log2_lanes_ = 5;
  std::uint64_t accesses_ = 0;
  std::uint32_t launch_ = 1, block_ = 1,
                epoch_ = 1;                  // the first epoch of each, and the present one
  std::vector<std::uint16_t> lanes_epochs_;  // of each warp
  std::uint16_t thread_ = 0;                 // whose access it is
  std::uint32_t since_ = 1;                  // the first epoch that it may conflict with
  std::uint16_t lanes_epoch_ = 0;            // of its warp
  std::array<Cached, 256> cache_;
  std::unordered_map<std::uintptr_t, std::unique_ptr<Page>> pages_;
};

}  // namespace hearth::kernels::emulated
