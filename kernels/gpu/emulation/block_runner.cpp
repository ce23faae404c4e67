#include "kernels/gpu/emulation/block_runner.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <boost/context/detail/fcontext.hpp>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
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
constexpr unsigned kMostBlocksYZ = 65535;
// What every GPU gives a block without being asked, less what newer ones keep for themselves.
constexpr std::size_t kMostSharedBytes = 47 * 1024;
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
  bool hold(const void* at) const {
    return static_cast<std::size_t>(static_cast<const std::byte*>(at) - memory_) <
           kMostThreads * stride();
  }

 private:
  std::size_t stride() const { return page_ + kStackBytes; }

  std::size_t page_;
  std::byte* memory_ = nullptr;
};

enum class State : std::uint8_t { kRuns, kWaitsForWarp, kWaitsForBlock, kReturned };

struct Fiber {
  context::fcontext_t context = nullptr;
  State state = State::kRuns;
  bool waited = false;  // for what was launched before
  Collective collective{};
  unsigned line = 0;  // of the barrier it waits at
  std::uint64_t value = 0;
  void* fake_stack = nullptr;  // of an address sanitizer
};

// Shared memory of the block, between guards.
struct SharedPart {
  std::byte* memory;
  std::size_t bytes;
};

bool is_within(std::span<const std::byte> memory, const void* at) {
  return static_cast<std::size_t>(static_cast<const std::byte*>(at) - memory.data()) <
         memory.size();
}

struct ThisThread {
  LaunchShape shape;
  unsigned lanes = 0;
  unsigned index = 0;
  unsigned block_x = 0, block_y = 0, block_z = 0;
};

// The block that runs, and what survives it for the next one.
class BlockRunner {
 public:
  void run(const Launch& launch, FunctionRef<void()> kernel);

  const ThisThread& this_thread() const { return this_thread_; }
  void enter_shared(const SharedDeclaration& declaration);
  std::byte* dynamic_shared() { return dynamic_shared_.get() + kGuardBytes; }
  bool runs() const { return kernel_ != nullptr; }

  const std::uint64_t* exchange(Collective collective, std::uint64_t value);
  void wait_for_block(unsigned line);
  void wait_for_previous() { fibers_[this_thread_.index].waited = true; }
  void note_access(const void* at, std::size_t bytes, Access access, const void* code);
  void require_aligned(const void* at, std::size_t bytes, const void* code);
  [[noreturn]] void fail(const char* file, int line, const char* what);

 private:
  [[noreturn]] void leave_failed();
  void run_block();
  void resume(unsigned thread);
  bool release_warps();
  bool release_block();
  void check_shared();
  void report_divergence() const;
  bool is_shared(const void* at) const;
  std::string describe(unsigned thread) const;
  static void entry(context::transfer_t from);
  void leave_to_scheduler(bool for_good);

  std::optional<Stacks> stacks_;
  std::vector<Fiber> fibers_;
  std::vector<unsigned> order_;
  std::vector<std::uint64_t> arrived_;  // of each warp, the values of its last collective
  std::vector<SharedPart> shared_;
  std::span<const std::byte> call_;
  AccessWatch watch_;
  bool watched_ = true;
  std::uint64_t launches_ = 0;                            // of kernels that have had enough
  std::unordered_map<const void*, std::uint64_t> noted_;  // accesses of each kernel
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

// Accesses of a kernel.
constexpr std::uint64_t kNotedAlways = 1'000'000;

bool watches_all() {
  static const bool all = [] {
    const char* const wanted = std::getenv("HEARTH_WATCH");
    return wanted != nullptr && std::string_view(wanted) == "all";
  }();
  return all;
}

// Shuffled but for the first two seeds.
void order_by(Random& random, std::uint64_t seed, std::vector<unsigned>& places) {
  const std::size_t count = places.size();
  for (std::size_t i = 0; i < count; ++i)
    places[i] = static_cast<unsigned>(seed == kBackwards ? count - 1 - i : i);
  if (seed == kForwards || seed == kBackwards) return;
  for (std::size_t i = count; i > 1; --i) std::swap(places[i - 1], places[random.below(i)]);
}

std::string place_of(const void* code) {
  Dl_info info{};
  if (dladdr(code, &info) == 0 || info.dli_fname == nullptr) return "";
  const auto offset = static_cast<const char*>(code) - static_cast<const char*>(info.dli_fbase);
  return fmt::format(" (addr2line -ie {} {:#x})", info.dli_fname, offset - 1);
}

void BlockRunner::run(const Launch& launch, FunctionRef<void()> kernel) {
  const LaunchShape& shape = launch.shape;
  CHECK(!runs());
  CHECK(launch.lanes == 32 || launch.lanes == 64);
  CHECK(shape.threads > 0 && shape.threads <= kMostThreads);
  CHECK_EQ(shape.threads % kMostLanes, 0u);
  CHECK(shape.blocks_y <= kMostBlocksYZ && shape.blocks_z <= kMostBlocksYZ);
  if (!stacks_) stacks_.emplace();
  fibers_.assign(shape.threads, {});
  arrived_.assign(shape.threads, 0);
  order_.resize(shape.threads);
  dynamic_shared_ = std::make_unique<std::byte[]>(shape.dynamic_shared + 2 * kGuardBytes);
  this_thread_ = {.shape = shape, .lanes = launch.lanes};
  call_ = launch.call;
  failure_.clear();
  kernel_ = &kernel;

  Random random(launch.seed);
  std::vector<unsigned> places(std::size_t{shape.blocks_x} * shape.blocks_y * shape.blocks_z);
  order_by(random, launch.seed, places);
  order_by(random, launch.seed, order_);
  watch_.begin_launch(shape.threads, launch.lanes);
  std::uint64_t& noted = noted_[launch.kernel];
  watched_ = noted < kNotedAlways || watches_all() || Random(++launches_).below(16) == 0;
  try {
    for (const unsigned place : places) {
      this_thread_.block_x = place % shape.blocks_x;
      this_thread_.block_y = place / shape.blocks_x % shape.blocks_y;
      this_thread_.block_z = place / shape.blocks_x / shape.blocks_y;
      if (launch.seed > kBackwards) order_by(random, launch.seed, order_);
      run_block();
    }
  } catch (...) {
    kernel_ = nullptr;
    throw;
  }
  kernel_ = nullptr;
  noted += watch_.accesses();
}

void BlockRunner::run_block() {
  ++block_number_;
  watch_.begin_block();
  shared_.clear();
  const unsigned threads = this_thread_.shape.threads, dynamic = this_thread_.shape.dynamic_shared;
  std::memset(dynamic_shared_.get(), 0xff, dynamic + 2 * kGuardBytes);
  shared_.push_back({dynamic_shared(), dynamic});
  for (unsigned i = 0; i < threads; ++i) {
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
        throw EmulationError(fmt::format("block ({}, {}, {}), thread {}: {}", this_thread_.block_x,
                                         this_thread_.block_y, this_thread_.block_z, i, failure_));
      if (fibers_[i].state == State::kReturned) ++returned;
    }
    if (returned < threads && !release_warps() && !release_block()) report_divergence();
  }
  check_shared();
}

void BlockRunner::resume(unsigned thread) {
  Fiber& fiber = fibers_[thread];
  this_thread_.index = thread;
#ifdef HEARTH_FIBERS_ARE_WATCHED
  __sanitizer_start_switch_fiber(&scheduler_fake_stack_, stacks_->bottom(thread), kStackBytes);
#endif
  accesses_watched = watched_;
  fiber.context = context::jump_fcontext(fiber.context, this).fctx;
  accesses_watched = false;
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
  if (!self.fibers_[self.this_thread_.index].waited)
    self.failure_ = "it returns without wait_for_previous()";
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

void BlockRunner::wait_for_block(unsigned line) {
  fibers_[this_thread_.index].line = line;
  fibers_[this_thread_.index].state = State::kWaitsForBlock;
  leave_to_scheduler(false);
}

void BlockRunner::enter_shared(const SharedDeclaration& declaration) {
  if (*declaration.block == block_number_) return;
  *declaration.block = block_number_;
  std::memset(declaration.memory, 0xff, declaration.bytes);
  shared_.push_back({declaration.memory + kGuardBytes, declaration.bytes - 2 * kGuardBytes});
}

// What lies on a stack is its thread's alone: nobody else has the address.
void BlockRunner::note_access(const void* at, std::size_t bytes, Access access, const void* code) {
  const bool own = stacks_->hold(at), shared = !own && is_shared(at);
  const char* wrong = nullptr;
  if (!own && !fibers_[this_thread_.index].waited && !is_within(call_, at))
    wrong = "an access before wait_for_previous()";
  else if (!own)
    wrong = watch_.access(this_thread_.index, at, bytes, access, shared);
  if ((own || shared) && access == Access::kConstantRead)
    wrong = "reads through the read-only path what is not global memory";
  if (wrong == nullptr) return;
  failure_ = fmt::format("{}{}{}", wrong, shared ? ", in shared memory" : "", place_of(code));
  leave_failed();
}

bool BlockRunner::is_shared(const void* at) const {
  for (const SharedPart& part : shared_)
    if (is_within({part.memory, part.bytes}, at)) return true;
  return false;
}

void BlockRunner::require_aligned(const void* at, std::size_t bytes, const void* code) {
  if ((reinterpret_cast<std::uintptr_t>(at) & (bytes - 1)) == 0) return;  // a power of two
  failure_ = fmt::format("an access of {} bytes is not aligned{}", bytes, place_of(code));
  leave_failed();
}

void BlockRunner::fail(const char* file, int line, const char* what) {
  failure_ = fmt::format("{}:{}: {}", file, line, what);
  leave_failed();
}

// Nothing may live on the stack of the fiber here, which is never resumed.
void BlockRunner::leave_failed() {
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
    if (fibers_[first].collective.kind == Collective::kSync) watch_.pass_lanes(first);
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
    if (fiber.state != State::kWaitsForBlock || fiber.line != fibers_[0].line) return false;
  for (Fiber& fiber : fibers_) fiber.state = State::kRuns;
  watch_.pass_barrier();
  return true;
}

std::string BlockRunner::describe(unsigned thread) const {
  constexpr const char* kNames[] = {"sync_lanes", "shuffle",        "shuffle_xor",
                                    "ballot",     "multiply_tiles", "after_loads"};
  const Fiber& fiber = fibers_[thread];
  switch (fiber.state) {
    case State::kRuns:
      return fmt::format("thread {} runs", thread);
    case State::kWaitsForWarp:
      return fmt::format("thread {} waits in {}({}) of line {}", thread,
                         kNames[fiber.collective.kind], fiber.collective.parameter,
                         fiber.collective.line);
    case State::kWaitsForBlock:
      return fmt::format("thread {} waits in sync_threads of line {}", thread, fiber.line);
    case State::kReturned:
      return fmt::format("thread {} has returned", thread);
  }
  return {};
}

// Names the first pair of neighbours that wait for one another in vain.
void BlockRunner::report_divergence() const {
  unsigned other = 1;
  const auto same = [](const Fiber& a, const Fiber& b) {
    return a.state == b.state && (a.state != State::kWaitsForBlock || a.line == b.line) &&
           (a.state != State::kWaitsForWarp || a.collective == b.collective);
  };
  while (other + 1 < fibers_.size() && same(fibers_[0], fibers_[other])) ++other;
  throw EmulationError(
      fmt::format("block ({}, {}, {}): threads do not meet, which would hang a GPU: {}, {}",
                  this_thread_.block_x, this_thread_.block_y, this_thread_.block_z, describe(0),
                  describe(other)));
}

void BlockRunner::check_shared() {
  const auto all_ones = [](const std::byte* guard) {
    return std::all_of(guard, guard + kGuardBytes,
                       [](std::byte b) { return b == std::byte{0xff}; });
  };
  std::size_t bytes = 0;
  for (const SharedPart& part : shared_) bytes += part.bytes;
  if (bytes > kMostSharedBytes)
    throw EmulationError(fmt::format("a block has {} bytes of shared memory, and may have {}",
                                     bytes, kMostSharedBytes));
  for (const SharedPart& part : shared_)
    if (!all_ones(part.memory - kGuardBytes) || !all_ones(part.memory + part.bytes))
      throw EmulationError(fmt::format("block ({}, {}, {}) wrote beside its shared memory",
                                       this_thread_.block_x, this_thread_.block_y,
                                       this_thread_.block_z));
}

constinit thread_local std::vector<const void*>* noted_prefetches = nullptr;

}  // namespace

constinit thread_local bool accesses_watched = false;

void run_blocks(const Launch& launch, FunctionRef<void()> kernel) { runner().run(launch, kernel); }

unsigned lanes() { return runner().this_thread().lanes; }
unsigned thread_index() { return runner().this_thread().index; }
unsigned block_threads() { return runner().this_thread().shape.threads; }
unsigned block_x() { return runner().this_thread().block_x; }
unsigned block_y() { return runner().this_thread().block_y; }
unsigned block_z() { return runner().this_thread().block_z; }
unsigned grid_x() { return runner().this_thread().shape.blocks_x; }

const std::uint64_t* exchange(Collective collective, std::uint64_t value) {
  return runner().exchange(collective, value);
}
void wait_for_block(unsigned line) { runner().wait_for_block(line); }
void wait_for_previous() { runner().wait_for_previous(); }
void note_prefetches(std::vector<const void*>* places) { noted_prefetches = places; }
void prefetch(const void* at) {
  static_cast<void>(*static_cast<const volatile std::byte*>(at));
  if (noted_prefetches != nullptr) noted_prefetches->push_back(at);
}
void fail(const char* file, int line, const char* what) { runner().fail(file, line, what); }

void note_access(const void* at, std::size_t bytes, Access access, const void* code) {
  runner().require_aligned(at, bytes, code);
  runner().note_access(at, bytes, access, code);
}
void note_unaligned_access(const void* at, std::size_t bytes, Access access, const void* code) {
  runner().note_access(at, bytes, access, code);
}

void require_aligned(const void* at, std::size_t bytes) {
  runner().require_aligned(at, bytes, __builtin_return_address(0));
}
std::uint64_t load_constant(const void* at, std::size_t bytes) {
  std::uint64_t value = 0;
  if (accesses_watched) note_access(at, bytes, Access::kConstantRead, __builtin_return_address(0));
  std::memcpy(&value, at, bytes);
  return value;
}
void load_constant(const void* at, std::size_t bytes, void* to) {
  if (accesses_watched) note_access(at, bytes, Access::kConstantRead, __builtin_return_address(0));
  std::memcpy(to, at, bytes);
}

std::uint64_t read_atomic(const void* at, std::size_t bytes) {
  if (accesses_watched) note_access(at, bytes, Access::kAtomic, __builtin_return_address(0));
  std::uint64_t value = 0;
  std::memcpy(&value, at, bytes);
  return value;
}
void write_atomic(void* at, std::uint64_t value, std::size_t bytes) {
  std::memcpy(at, &value, bytes);
}
std::uint32_t load_flag(const std::uint32_t* at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }
void store_flag(std::uint32_t* at, std::uint32_t value) {
  if (accesses_watched)
    note_access(at, sizeof(value), Access::kAtomic, __builtin_return_address(0));
  __atomic_store_n(at, value, __ATOMIC_RELEASE);
}

void enter_shared(const SharedDeclaration& declaration) { runner().enter_shared(declaration); }
std::byte* dynamic_shared_memory() { return runner().dynamic_shared(); }

}  // namespace hearth::kernels::emulated
