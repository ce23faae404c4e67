// A device in host memory: streams are queues that run when somebody looks, in an order that a seed
// says, one operation at a time. A copy reads and writes when it runs, not when it is enqueued, so
// that whoever overwrites too early, or reads too early, sees other bytes.
#pragma once

#include <hearth/experts.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/random.h"

namespace hearth::testing {

class ModelledDevice {
 public:
  // Other than 0: the call fails with this code. Counted down by each call, at 0 it fails.
  struct Fault {
    int calls_left = -1;
    bool now() { return calls_left >= 0 && calls_left-- == 0; }
  };
  Fault alloc_fault, alloc_host_fault, copy_fault, make_fault, record_fault;
  bool crooked_host_memory = false;

  explicit ModelledDevice(std::uint64_t seed, std::size_t streams = 3) : random_(seed) {
    streams_.resize(streams);
  }
  ~ModelledDevice() {
    CHECK(memory_.empty());  // everything was given back
    CHECK_EQ(events_made_, events_freed_);
  }

  void* stream(std::size_t index) { return &streams_[index]; }  // 0 is that of copies

  hearth_device lent(bool with_host_memory = true) {
    hearth_device device{};
    device.size = sizeof device;
    device.user = this;
    device.copy_stream = stream(0);
    device.alloc = [](void* user, std::uint64_t n) {
      return self(user).alloc_fault.now() ? nullptr : self(user).take(n);
    };
    device.free = [](void* user, void* memory) { self(user).give_back(memory); };
    if (with_host_memory) {
      device.alloc_host = [](void* user, std::uint64_t n) -> void* {
        if (self(user).alloc_host_fault.now()) return nullptr;
        return static_cast<char*>(self(user).take(n)) + (self(user).crooked_host_memory ? 64 : 0);
      };
      device.free_host = [](void* user, void* memory) {
        self(user).give_back(static_cast<char*>(memory) -
                             (self(user).crooked_host_memory ? 64 : 0));
      };
    }
    device.copy = [](void* user, void* to, const void* from, std::uint64_t n, void* on) {
      if (self(user).copy_fault.now()) return 7;
      self(user).enqueue(on, [=] { std::memcpy(to, from, n); });
      return 0;
    };
    device.event_make = [](void* user) -> void* {
      if (self(user).make_fault.now()) return nullptr;
      ++self(user).events_made_;
      return new Event;
    };
    device.event_free = [](void* user, void* event) {
      ++self(user).events_freed_;
      delete static_cast<Event*>(event);
    };
    device.event_record = [](void* user, void* event, void* on) {
      if (self(user).record_fault.now()) return 9;
      self(user).record(event, on);
      return 0;
    };
    device.event_wait = [](void* user, void* on, void* event) {
      self(user).wait(on, event);
      return 0;
    };
    device.event_query = [](void* user, void* event) {
      self(user).run_some();
      return *static_cast<Event*>(event)->reached ? 0 : 1;
    };
    device.event_synchronize = [](void* user, void* event) {
      while (!*static_cast<Event*>(event)->reached) CHECK(self(user).run_one());
      return 0;
    };
    return device;
  }

  // Work of the program on a stream.
  void enqueue(void* on, std::function<void()> work) {
    static_cast<Stream*>(on)->push_back({std::move(work), {}});
  }
  void wait(void* on, void* event) {
    static_cast<Stream*>(on)->push_back({{}, static_cast<Event*>(event)->reached});
  }
  void run_all() {
    while (run_one()) {
    }
    for (const Stream& stream : streams_) CHECK(stream.empty());  // else it waits forever
  }

 private:
  // One recording of an event: who waits for it waits for this one, also when it is recorded anew.
  using Reached = std::shared_ptr<bool>;
  struct Event {
    Reached reached = std::make_shared<bool>(true);
  };
  struct Operation {
    std::function<void()> work;
    Reached until;  // instead of work
  };
  using Stream = std::deque<Operation>;

  static ModelledDevice& self(void* user) { return *static_cast<ModelledDevice*>(user); }

  void record(void* event, void* on) {
    const auto reached = std::make_shared<bool>(false);
    static_cast<Event*>(event)->reached = reached;
    enqueue(on, [reached] { *reached = true; });
  }

  void run_some() {
    for (std::uint64_t n = random_.below(3); n > 0 && run_one(); --n) {
    }
  }
  // False where nothing can run.
  bool run_one() {
    std::vector<Stream*> able;
    for (Stream& stream : streams_)
      if (!stream.empty() && (!stream.front().until || *stream.front().until))
        able.push_back(&stream);
    if (able.empty()) return false;
    Stream& chosen = *able[random_.below(able.size())];
    const Operation operation = std::move(chosen.front());
    chosen.pop_front();
    if (operation.work) operation.work();
    return true;
  }

  void* take(std::uint64_t bytes) {
    void* const memory = std::aligned_alloc(4096, (bytes + 8191) / 4096 * 4096);
    memory_.insert(memory);
    return memory;
  }
  void give_back(void* memory) {
    CHECK_EQ(memory_.erase(memory), 1u);
    std::free(memory);
  }

  Random random_;
  std::vector<Stream> streams_;
  std::set<void*> memory_;
  std::size_t events_made_ = 0, events_freed_ = 0;
};

}  // namespace hearth::testing
