#include "kernels/gpu/emulation/block_runner.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <boost/context/detail/fcontext.hpp>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "kernels/gpu/emulation/shared_memory.h"

#if defined(__SANITIZE_ADDRESS__)
#define HEARTH_FIBERS_ARE_WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HEARTH_FIBERS_ARE_WATCHED 1
#endif
#endif
#ifdef HEARTH_FIBERS_ARE_WATCHED
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace hearth::kernels::emulated {
namespace {

namespace context = boost::context::detail;

constexpr unsigned kMostLanes = 64;
constexpr unsigned kMostThreads = 1024;
// Under an address sanitizer frames are several times as large.
#ifdef HEARTH_FIBERS_ARE_WATCHED
constexpr std::size_t kStackBytes = 256 * 1024;
#else
constexpr std::size_t kStackBytes = 64 * 1024;
#endif

// Stacks of all threads of a block, each above a page that cannot be touched; kept for the next
// one.
class Stacks {
 public:
  Stacks() : page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))) {
    void* memory = mmap(nullptr, kMostThreads * stride(), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED);
    memory_ = static_cast<std::byte*>(memory);
    for (std::size_t i = 0; i < kMostThreads; ++i)
      CHECK_EQ(mprotect(memory_ + i * stride(), page_, PROT_NONE), 0);
  }
  ~Stacks() { munmap(memory_, kMostThreads * stride()); }
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;

  std::byte* bottom(std::size_t i) const { return memory_ + i * stride() + page_; }

 private:
  std::size_t stride() const { return page_ + kStackBytes; }

  std::size_t page_;
  std::byte* memory_ = nullptr;
};

enum class State : std::uint8_t { kRuns, kWaitsForWarp, kWaitsForBlock, kReturned };

struct Fiber {
  context::fcontext_t context = nullptr;
  State state = State::kRuns;
  Collective collective{};
  std::uint64_t value = 0;
  void* fake_stack = nullptr;  // of an address sanitizer
};

struct Guard {
  const std::byte* bytes;
  std::size_t count;
};

// The block that runs, and what survives it for the next one.
class BlockRunner {
 public:
  void run(const Launch& launch, FunctionRef<void()> kernel);

  const ThisThread& this_thread() const { return this_thread_; }
  std::uint64_t block_number() const { return block_number_; }
  void guard(const std::byte* bytes, std::size_t count) { guards_.push_back({bytes, count}); }
  std::byte* dynamic_shared() { return dynamic_shared_.get() + kGuardBytes; }
  bool runs() const { return kernel_ != nullptr; }

  const std::uint64_t* exchange(Collective collective, std::uint64_t value);
  void wait_for_block();
  [[noreturn]] void fail(const char* file, int line, const char* what);

 private:
  static constexpr std::size_t kGuardBytes = 64;

  void run_block(Random& random);
  void resume(unsigned thread);
  bool release_warps();
  bool release_block();
  void check_guards();
  void report_divergence() const;
  std::string describe(unsigned thread) const;
  static void entry(context::transfer_t from);
  void leave_to_scheduler(bool for_good);

  std::optional<Stacks> stacks_;
  std::vector<Fiber> fibers_;
  std::vector<unsigned> order_;
  std::vector<std::uint64_t> arrived_;  // of each warp, the values of its last collective
  std::vector<Guard> guards_;
  std::unique_ptr<std::byte[]> dynamic_shared_;
  ThisThread this_thread_;
  std::uint64_t block_number_ = 0;
  FunctionRef<void()>* kernel_ = nullptr;
  context::fcontext_t scheduler_ = nullptr;
  [[maybe_unused]] const void* scheduler_stack_ = nullptr;  // of an address sanitizer
  [[maybe_unused]] std::size_t scheduler_stack_bytes_ = 0;
  [[maybe_unused]] void* scheduler_fake_stack_ = nullptr;
  std::string failure_;
};

BlockRunner& runner() {
  static thread_local BlockRunner instance;
  return instance;
}

void BlockRunner::run(const Launch& launch, FunctionRef<void()> kernel) {
  const LaunchShape& shape = launch.shape;
  CHECK(!runs());
  CHECK(launch.lanes == 32 || launch.lanes == 64);
  CHECK(shape.threads > 0 && shape.threads <= kMostThreads);
  CHECK_EQ(shape.threads % kMostLanes, 0u);
  if (!stacks_) stacks_.emplace();
  fibers_.assign(shape.threads, {});
  arrived_.assign(shape.threads, 0);
  order_.resize(shape.threads);
  dynamic_shared_ = std::make_unique<std::byte[]>(shape.dynamic_shared + 2 * kGuardBytes);
  this_thread_ = {.shape = shape, .lanes = launch.lanes};
  failure_.clear();
  kernel_ = &kernel;

  Random random(launch.seed);
  const std::uint64_t blocks = std::uint64_t{shape.blocks_x} * shape.blocks_y * shape.blocks_z;
  std::vector<std::uint64_t> places(blocks);
  for (std::uint64_t i = 0; i < blocks; ++i) places[i] = i;
  for (std::uint64_t i = blocks; i > 1; --i) std::swap(places[i - 1], places[random.below(i)]);
  try {
    for (const std::uint64_t place : places) {
      this_thread_.block_x = static_cast<unsigned>(place % shape.blocks_x);
      this_thread_.block_y = static_cast<unsigned>(place / shape.blocks_x % shape.blocks_y);
      this_thread_.block_z = static_cast<unsigned>(place / shape.blocks_x / shape.blocks_y);
      run_block(random);
    }
  } catch (...) {
    kernel_ = nullptr;
    throw;
  }
  kernel_ = nullptr;
}

void BlockRunner::run_block(Random& random) {
  ++block_number_;
  guards_.clear();
  const unsigned threads = this_thread_.shape.threads, dynamic = this_thread_.shape.dynamic_shared;
  std::memset(dynamic_shared_.get(), 0xff, dynamic + 2 * kGuardBytes);
  guard(dynamic_shared_.get(), kGuardBytes);
  guard(dynamic_shared() + dynamic, kGuardBytes);
  for (unsigned i = 0; i < threads; ++i) {
    order_[i] = i;
    std::swap(order_[i], order_[random.below(i + 1)]);
    std::byte* bottom = stacks_->bottom(i);
#ifdef HEARTH_FIBERS_ARE_WATCHED
    ASAN_UNPOISON_MEMORY_REGION(bottom, kStackBytes);
#endif
    fibers_[i] = {};
    fibers_[i].context = context::make_fcontext(bottom + kStackBytes, kStackBytes, entry);
  }
  unsigned returned = 0;
  while (returned < threads) {
    for (const unsigned i : order_) {
      if (fibers_[i].state != State::kRuns) continue;
      resume(i);
      if (!failure_.empty())
        throw EmulationError(fmt::format("block ({}, {}, {}), {}", this_thread_.block_x,
                                         this_thread_.block_y, this_thread_.block_z, failure_));
      if (fibers_[i].state == State::kReturned) ++returned;
    }
    if (returned < threads && !release_warps() && !release_block()) report_divergence();
  }
  check_guards();
}

void BlockRunner::resume(unsigned thread) {
  Fiber& fiber = fibers_[thread];
  this_thread_.index = thread;
#ifdef HEARTH_FIBERS_ARE_WATCHED
  __sanitizer_start_switch_fiber(&scheduler_fake_stack_, stacks_->bottom(thread), kStackBytes);
#endif
  fiber.context = context::jump_fcontext(fiber.context, this).fctx;
#ifdef HEARTH_FIBERS_ARE_WATCHED
  __sanitizer_finish_switch_fiber(scheduler_fake_stack_, nullptr, nullptr);
#endif
}

void BlockRunner::entry(context::transfer_t from) {
  BlockRunner& self = *static_cast<BlockRunner*>(from.data);
#ifdef HEARTH_FIBERS_ARE_WATCHED
  __sanitizer_finish_switch_fiber(nullptr, &self.scheduler_stack_, &self.scheduler_stack_bytes_);
#endif
  self.scheduler_ = from.fctx;
  (*self.kernel_)();
  self.fibers_[self.this_thread_.index].state = State::kReturned;
  self.leave_to_scheduler(true);
}

void BlockRunner::leave_to_scheduler(bool for_good) {
  [[maybe_unused]] Fiber& fiber = fibers_[this_thread_.index];
#ifdef HEARTH_FIBERS_ARE_WATCHED
  __sanitizer_start_switch_fiber(for_good ? nullptr : &fiber.fake_stack, scheduler_stack_,
                                 scheduler_stack_bytes_);
#endif
  const context::transfer_t from = context::jump_fcontext(scheduler_, nullptr);
  CHECK(!for_good);
#ifdef HEARTH_FIBERS_ARE_WATCHED
  __sanitizer_finish_switch_fiber(fiber.fake_stack, &scheduler_stack_, &scheduler_stack_bytes_);
#endif
  scheduler_ = from.fctx;
}

const std::uint64_t* BlockRunner::exchange(Collective collective, std::uint64_t value) {
  const unsigned self = this_thread_.index;
  Fiber& fiber = fibers_[self];
  fiber.collective = collective;
  fiber.value = value;
  fiber.state = State::kWaitsForWarp;
  leave_to_scheduler(false);
  return &arrived_[self / this_thread_.lanes * this_thread_.lanes];
}

void BlockRunner::wait_for_block() {
  fibers_[this_thread_.index].state = State::kWaitsForBlock;
  leave_to_scheduler(false);
}

// Nothing may live on the stack of the fiber here, which is never resumed.
void BlockRunner::fail(const char* file, int line, const char* what) {
  failure_ = fmt::format("thread {}: {}:{}: {}", this_thread_.index, file, line, what);
  leave_to_scheduler(true);
  __builtin_unreachable();
}

bool BlockRunner::release_warps() {
  bool released = false;
  const unsigned lanes = this_thread_.lanes;
  for (unsigned first = 0; first < fibers_.size(); first += lanes) {
    bool all = true;
    for (unsigned i = first; i < first + lanes; ++i)
      all = all && fibers_[i].state == State::kWaitsForWarp &&
            fibers_[i].collective == fibers_[first].collective;
    if (!all) continue;
    for (unsigned i = first; i < first + lanes; ++i) {
      arrived_[i] = fibers_[i].value;
      fibers_[i].state = State::kRuns;
    }
    released = true;
  }
  return released;
}

bool BlockRunner::release_block() {
  for (const Fiber& fiber : fibers_)
    if (fiber.state != State::kWaitsForBlock) return false;
  for (Fiber& fiber : fibers_) fiber.state = State::kRuns;
  return true;
}

std::string BlockRunner::describe(unsigned thread) const {
  constexpr const char* kNames[] = {"sync_lanes", "shuffle", "shuffle_xor", "ballot",
                                    "multiply_tiles"};
  const Fiber& fiber = fibers_[thread];
  switch (fiber.state) {
    case State::kRuns:
      return fmt::format("thread {} runs", thread);
    case State::kWaitsForWarp:
      return fmt::format("thread {} waits in {}({})", thread, kNames[fiber.collective.kind],
                         fiber.collective.parameter);
    case State::kWaitsForBlock:
      return fmt::format("thread {} waits in sync_threads", thread);
    case State::kReturned:
      return fmt::format("thread {} has returned", thread);
  }
  return {};
}

// Names the first pair of neighbours that wait for one another in vain.
void BlockRunner::report_divergence() const {
  unsigned other = 1;
  const auto same = [](const Fiber& a, const Fiber& b) {
    return a.state == b.state && (a.state != State::kWaitsForWarp || a.collective == b.collective);
  };
  while (other + 1 < fibers_.size() && same(fibers_[0], fibers_[other])) ++other;
  throw EmulationError(
      fmt::format("block ({}, {}, {}): threads do not meet, which would hang a GPU: {}, {}",
                  this_thread_.block_x, this_thread_.block_y, this_thread_.block_z, describe(0),
                  describe(other)));
}

void BlockRunner::check_guards() {
  for (const Guard& guard : guards_)
    for (std::size_t i = 0; i < guard.count; ++i)
      if (guard.bytes[i] != std::byte{0xff})
        throw EmulationError(fmt::format("block ({}, {}, {}) wrote beside its shared memory",
                                         this_thread_.block_x, this_thread_.block_y,
                                         this_thread_.block_z));
}

}  // namespace

void run_blocks(const Launch& launch, FunctionRef<void()> kernel) { runner().run(launch, kernel); }

const ThisThread& this_thread() { return runner().this_thread(); }

const std::uint64_t* exchange(Collective collective, std::uint64_t value) {
  return runner().exchange(collective, value);
}

void wait_for_block() { runner().wait_for_block(); }

void fail(const char* file, int line, const char* what) { runner().fail(file, line, what); }

std::uint64_t block_number() { return runner().block_number(); }

void guard(const std::byte* bytes, std::size_t count) { runner().guard(bytes, count); }

std::byte* dynamic_shared_memory() { return runner().dynamic_shared(); }

}  // namespace hearth::kernels::emulated
