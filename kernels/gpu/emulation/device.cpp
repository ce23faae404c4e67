#include "kernels/gpu/emulation/device.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "kernels/gpu/emulation/queue.h"

namespace hearth::kernels::emulated {
namespace {

constexpr std::size_t kAlignment = 256;

class EmulatedEvent final : public Event {
 public:
  bool reached() const override { return true; }
  void wait() const override {}
  Nanoseconds since(const Event& earlier) const override {
    return at_ - static_cast<const EmulatedEvent&>(earlier).at_;
  }
  void record() { at_ = std::chrono::steady_clock::now().time_since_epoch(); }

 private:
  Nanoseconds at_{};
};

class EmulatedGraph final : public Graph {
 public:
  explicit EmulatedGraph(std::vector<Queue::Work> nodes) : nodes_(std::move(nodes)) {}
  std::size_t node_count() const override { return nodes_.size(); }
  void run(EmulatedDevice& device) const {
    for (const Queue::Work& node : nodes_) {
      device.operate();
      node();
    }
  }

 private:
  std::vector<Queue::Work> nodes_;
};

class EmulatedStream final : public Stream, public Queue {
 public:
  EmulatedStream(EmulatedDevice& device, unsigned lanes, std::uint64_t seed)
      : Queue(lanes, seed), device_(device) {}

  NativeStream native() const override {
    return const_cast<Queue*>(static_cast<const Queue*>(this));
  }
  void enqueue(Work work) override {
    if (captures_) {
      captured_.push_back(std::move(work));
    } else {
      device_.operate();
      work();
    }
  }

  void copy(void* to, const void* from, Bytes bytes) override {
    enqueue([=] { std::memmove(to, from, bytes.count); });
  }
  void fill(void* to, std::uint8_t byte, Bytes bytes) override {
    enqueue([=] { std::memset(to, byte, bytes.count); });
  }
  void record(Event& event) override {
    enqueue([&event] { static_cast<EmulatedEvent&>(event).record(); });
  }
  void wait(const Event&) override {}
  void write_value(SharedFlag flag, std::uint32_t value) override {
    enqueue([=] { __atomic_store_n(flag.address, value, __ATOMIC_RELEASE); });
  }
  void wait_value(SharedFlag flag, std::uint32_t value) override {
    enqueue([=] {
      const auto left = [&] {
        return static_cast<std::int32_t>(value - __atomic_load_n(flag.address, __ATOMIC_ACQUIRE));
      };
      while (left() > 0) std::this_thread::yield();
    });
  }
  void call_host(void (*function)(void*), void* context) override {
    enqueue([=] { function(context); });
  }
  void synchronize() override { CHECK(!captures_); }

  void begin_capture() override {
    CHECK(!captures_);
    captures_ = true;
  }
  std::unique_ptr<Graph> end_capture() override {
    CHECK(captures_);
    captures_ = false;
    return std::make_unique<EmulatedGraph>(std::exchange(captured_, {}));
  }
  void launch(const Graph& graph) override {
    enqueue([this, &graph] { static_cast<const EmulatedGraph&>(graph).run(device_); });
  }

 private:
  EmulatedDevice& device_;
  bool captures_ = false;
  std::vector<Work> captured_;
};

void* allocate_host(std::size_t bytes) {
  void* memory = nullptr;
  return posix_memalign(&memory, kAlignment, bytes) == 0 ? memory : nullptr;
}

}  // namespace

EmulatedDevice::EmulatedDevice(const DeviceOptions& options) : options_(options) {
  properties_.name = "emulated";
  properties_.architecture = "host";
  properties_.driver = "none";
  properties_.lanes = options.lanes;
  properties_.multiprocessors = 1;
  properties_.memory = options.memory;
  properties_.shared_memory_per_block = 48 * kKiB;
  properties_.maps_host_memory = true;
  properties_.stream_memory_operations = true;
}

EmulatedDevice::~EmulatedDevice() {
  CHECK(allocations_.empty());  // owners do not outlive their device
  CHECK(pinned_.empty());
}

DeviceMemory EmulatedDevice::memory() const {
  const std::lock_guard lock(mutex_);
  return {.free = Bytes(options_.memory.count - used_.count), .total = options_.memory};
}

Bytes EmulatedDevice::peak() const {
  const std::lock_guard lock(mutex_);
  return peak_;
}

std::unique_ptr<Stream> EmulatedDevice::new_stream(StreamPriority) {
  return std::make_unique<EmulatedStream>(*this, options_.lanes,
                                          options_.seed + (streams_++ << 32));
}

std::unique_ptr<Event> EmulatedDevice::new_event(EventTiming) {
  return std::make_unique<EmulatedEvent>();
}

void* EmulatedDevice::try_allocate(Bytes bytes) {
  const std::lock_guard lock(mutex_);
  if (++allocations_asked_ == options_.failing_allocation) return nullptr;
  if (bytes.count > options_.memory.count - used_.count) return nullptr;
  void* memory = allocate_host(bytes.count);
  if (memory == nullptr) return nullptr;
  std::memset(memory, 0xff, bytes.count);
  allocations_[memory] = bytes;
  used_ += bytes;
  peak_ = std::max(peak_, used_);
  return memory;
}

void EmulatedDevice::free(void* memory) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = allocations_.find(memory);
  CHECK(found != allocations_.end());
  used_ -= found->second;
  allocations_.erase(found);
  std::free(memory);
}

void* EmulatedDevice::try_allocate_mapped(Bytes bytes) {
  void* memory = allocate_host(bytes.count);
  if (memory != nullptr) std::memset(memory, 0, bytes.count);
  return memory;
}

void EmulatedDevice::free_mapped(void* memory) noexcept { std::free(memory); }

bool EmulatedDevice::try_pin(std::span<std::byte> memory) {
  const std::lock_guard lock(mutex_);
  if (pinned_bytes_ + Bytes(memory.size()) > options_.pinnable) return false;
  CHECK(pinned_.emplace(memory.data(), memory.size()).second);
  pinned_bytes_ += Bytes(memory.size());
  return true;
}

void EmulatedDevice::unpin(std::byte* memory) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = pinned_.find(memory);
  CHECK(found != pinned_.end());
  pinned_bytes_ -= Bytes(found->second);
  pinned_.erase(found);
}

void EmulatedDevice::operate() {
  const std::uint64_t number = ++operations_;
  if (options_.last_operation != 0 && number > options_.last_operation)
    throw_error(ErrorCode::kDevice, "emulated device: lost at operation {}", number);
}

}  // namespace hearth::kernels::emulated
