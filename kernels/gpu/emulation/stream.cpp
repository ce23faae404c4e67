#include "kernels/gpu/emulation/stream.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "base/check.h"
#include "kernels/gpu/emulation/device.h"

namespace hearth::kernels::emulated {
namespace {

bool has_come(SharedFlag flag, std::uint32_t value) {
  const std::uint32_t now = __atomic_load_n(flag.address, __ATOMIC_ACQUIRE);
  return static_cast<std::int32_t>(value - now) <= 0;
}

}  // namespace

std::size_t Capture::add(Operation operation, std::vector<std::size_t> after) {
  operations.push_back({.operation = std::move(operation), .after = std::move(after)});
  return operations.size() - 1;
}

// Whether nothing comes after none of `last`: else a stream was not joined again.
bool Capture::all_lead_to(const std::vector<std::size_t>& last) const {
  std::vector<bool> leads(operations.size(), false);
  for (const std::size_t i : last) leads[i] = true;
  for (std::size_t i = operations.size(); i-- > 0;)
    if (leads[i])
      for (const std::size_t before : operations[i].after) leads[before] = true;
  return std::ranges::all_of(leads, [](bool one) { return one; });
}

EmulatedGraph::~EmulatedGraph() { device_.give_graph_back(); }

bool EmulatedEvent::reached() const {
  device_.check_captures_nothing();
  if (is_done(pending_)) return true;
  if (device_.schedule() != nullptr) device_.schedule()->step();
  return is_done(pending_);
}

void EmulatedEvent::wait() const {
  device_.host_waits();
  device_.check_captures_nothing();
  device_.count().waited();
  device_.wait_for(pending_);
}

Nanoseconds EmulatedEvent::since(const Event& earlier) const {
  return *at_ - *static_cast<const EmulatedEvent&>(earlier).at_;
}

bool EmulatedStream::captures() {
  if (capture_ != nullptr && capture_->ended) capture_ = nullptr;
  return capture_ != nullptr;
}

void EmulatedStream::launched(std::uint64_t nodes) {
  if (device_.count().launched(nodes)) device_.watchdog().enqueued(*this, operations_);
}

void EmulatedStream::enqueue(Work kernel) {
  enqueue(Operation{.name = "kernel", .work = std::move(kernel)});
  launched();
}

void EmulatedStream::enqueue(Operation operation) {
  operation.stream = number_;
  if (captures()) {
    last_captured_ = {capture_->add(std::move(operation), std::move(last_captured_))};
  } else if (Schedule* const schedule = device_.schedule()) {
    device_.throw_if_lost();
    last_ = {schedule->add(std::move(operation), std::move(last_))};
  } else {
    run_at_once(operation);
  }
}

void EmulatedStream::run_at_once(const Operation& operation) {
  if (!device_.operate(operation.name)) {
    last_ = {std::make_shared<PendingOperation>()};  // which is never done
    return;
  }
  while (operation.ready && !operation.ready()) std::this_thread::yield();
  if (operation.first_part) operation.first_part();
  if (operation.work) operation.work();
}

void EmulatedStream::copy(void* to, const void* from, Bytes bytes) {
  launched();
  if (captures()) CHECK(device_.sees(to, bytes) && device_.sees(from, bytes));
  const auto part = [=](std::size_t begin, std::size_t end) {
    return [=] {
      std::memmove(static_cast<std::byte*>(to) + begin, static_cast<const std::byte*>(from) + begin,
                   end - begin);
    };
  };
  enqueue(Operation{.name = "copy",
                    .first_part = part(0, bytes.count / 2),
                    .work = part(bytes.count / 2, bytes.count)});
}

void EmulatedStream::fill(void* to, std::uint8_t byte, Bytes bytes) {
  launched();
  enqueue(Operation{.name = "fill", .work = [=] { std::memset(to, byte, bytes.count); }});
}

void EmulatedStream::record(Event& event) {
  auto& recorded = static_cast<EmulatedEvent&>(event);
  recorded.pending_ = nullptr;
  recorded.capture_ = nullptr;
  if (captures()) {
    recorded.capture_ = capture_;
    recorded.captured_ = last_captured_;
    return;
  }
  enqueue(Operation{.name = "event", .work = [at = recorded.at_] {
                      *at = std::chrono::steady_clock::now().time_since_epoch();
                    }});
  if (!last_.empty()) recorded.pending_ = last_.front();
}

void EmulatedStream::mark(Event& event) {
  enqueue(Operation{.name = "mark", .work = [at = static_cast<EmulatedEvent&>(event).at_] {
                      *at = std::chrono::steady_clock::now().time_since_epoch();
                    }});
}

void EmulatedStream::wait(const Event& event) {
  const auto& recorded = static_cast<const EmulatedEvent&>(event);
  if (recorded.capture_ != nullptr && !recorded.capture_->ended) {
    CHECK(!captures() || capture_ == recorded.capture_);
    if (!captures()) last_captured_.clear();  // of a capture before this one
    capture_ = recorded.capture_;
    last_captured_.insert(last_captured_.end(), recorded.captured_.begin(),
                          recorded.captured_.end());
  } else if (recorded.pending_ != nullptr) {
    CHECK(!captures());  // a graph does not wait for what is outside of it
    last_.push_back(recorded.pending_);
  }
}

void EmulatedStream::write_value(SharedFlag flag, std::uint32_t value) {
  enqueue(Operation{.name = "write of a flag",
                    .work = [=] { __atomic_store_n(flag.address, value, __ATOMIC_RELEASE); }});
}

void EmulatedStream::wait_value(SharedFlag flag, std::uint32_t value) {
  enqueue(Operation{.name = "wait for a flag", .ready = [=] { return has_come(flag, value); }});
}

void EmulatedStream::call_host(void (*function)(void*), void* context) {
  enqueue(Operation{.name = "host function", .work = [=] { function(context); }});
}

void EmulatedStream::synchronize() {
  device_.host_waits();
  device_.check_captures_nothing();
  device_.count().waited();
  for (const Pending& pending : last_) device_.wait_for(pending);
}

void EmulatedStream::begin_capture() {
  CHECK(!captures());
  device_.begin_capture();
  device_.count().begin_capture();
  capture_ = std::make_shared<Capture>();
  last_captured_.clear();
}

std::unique_ptr<Graph> EmulatedStream::end_capture() {
  CHECK(captures());
  CHECK(capture_->all_lead_to(last_captured_));
  std::vector<GraphOperation> operations = std::move(capture_->operations);
  drop_capture();
  if (!device_.try_take_graph()) return nullptr;
  return std::make_unique<EmulatedGraph>(device_, std::move(operations));
}

void EmulatedStream::drop_capture() noexcept {
  CHECK(captures());
  capture_->ended = true;
  device_.end_capture();
  device_.count().end_capture();
  capture_ = nullptr;
}

void EmulatedStream::launch(const Graph& graph) {
  CHECK(!captures());
  launched(graph.node_count());
  const auto& operations = static_cast<const EmulatedGraph&>(graph).operations();
  Schedule* const schedule = device_.schedule();
  if (schedule == nullptr) {
    for (const GraphOperation& one : operations) run_at_once(one.operation);
    return;
  }
  device_.throw_if_lost();
  std::vector<Pending> added;
  for (const GraphOperation& one : operations) {
    std::vector<Pending> after = one.after.empty() ? last_ : std::vector<Pending>();
    for (const std::size_t before : one.after) after.push_back(added[before]);
    added.push_back(schedule->add(one.operation, std::move(after)));
  }
  last_ = std::move(added);
}

}  // namespace hearth::kernels::emulated
