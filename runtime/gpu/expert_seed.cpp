#include "runtime/gpu/expert_seed.h"

#include <deque>

#include "base/check.h"

namespace hearth::runtime {
namespace {

// Experts that are read while one is copied: enough to keep a disk busy.
constexpr std::size_t kAhead = 16;

class Seeding {
 public:
  Seeding(ExpertArena& arena, ExpertStore& store, Uploader& uploader)
      : arena_(arena), store_(store), uploader_(uploader) {}

  void add(ExpertId id) {
    if (ahead_.size() == kAhead) put_first();
    while (!begin(id)) {
      // What is leased, or on its way for somebody else, makes room for it.
      if (!ahead_.empty()) {
        put_first();
      } else {
        CHECK(store_.reading());
        store_.collect(io::AsyncReader::Wait::kOne);
      }
    }
    ahead_.push_back(store_.lease(id));
  }

  std::uint32_t finish() {
    while (!ahead_.empty()) put_first();
    uploader_.finish();
    return put_;
  }

 private:
  bool begin(ExpertId id) {
    return store_.state(id) != profiler::ExpertState::kAbsent ||
           store_.fetch(id, profiler::FillReason::kDemand) == FetchResult::kStarted;
  }

  void put_first() {
    const ExpertLease& first = ahead_.front();
    while (!first.ready()) store_.collect(io::AsyncReader::Wait::kOne);
    if (arena_.put(first.id(), {{first.part(0), first.part(1), first.part(2)}}, uploader_)) ++put_;
    ahead_.pop_front();
  }

  ExpertArena& arena_;
  ExpertStore& store_;
  Uploader& uploader_;
  std::deque<ExpertLease> ahead_;
  std::uint32_t put_ = 0;
};

}  // namespace

std::uint32_t seed(ExpertArena& arena, ExpertStore& store,
                   std::span<const ExpertId> most_wanted_first, Uploader& uploader) {
  Seeding seeding(arena, store, uploader);
  for (const ExpertId id : most_wanted_first) seeding.add(id);
  return seeding.finish();
}

}  // namespace hearth::runtime
