// Streams, events and graphs of the emulation (device.h). Without a schedule a stream does what it
// is given at once.
//
// Capture, as CUDA has it: between begin_capture() and end_capture() operations are kept. Another
// stream joins when it waits for an event that was recorded there, and has to be joined again.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/gpu/device.h"
#include "kernels/gpu/emulation/operation.h"
#include "kernels/gpu/emulation/schedule.h"

namespace hearth::kernels::emulated {

class EmulatedDevice;

struct Capture {
  std::vector<GraphOperation> operations;
  bool ended = false;

  std::size_t add(Operation operation, std::vector<std::size_t> after);
  bool all_lead_to(const std::vector<std::size_t>& last) const;
};

class EmulatedGraph final : public Graph {
 public:
  // Of a device that gave it memory, and gets that back.
  EmulatedGraph(EmulatedDevice& device, std::vector<GraphOperation> operations)
      : device_(device), operations_(std::move(operations)) {}
  ~EmulatedGraph() override;
  EmulatedGraph(const EmulatedGraph&) = delete;
  EmulatedGraph& operator=(const EmulatedGraph&) = delete;
  std::size_t node_count() const override { return operations_.size(); }
  const std::vector<GraphOperation>& operations() const { return operations_; }

 private:
  EmulatedDevice& device_;
  std::vector<GraphOperation> operations_;
};

class EmulatedEvent final : public Event {
 public:
  explicit EmulatedEvent(EmulatedDevice& device) : device_(device) {}
  bool reached() const override;  // a schedule goes on by one step
  void wait() const override;
  Nanoseconds since(const Event& earlier) const override;

 private:
  friend class EmulatedStream;
  EmulatedDevice& device_;
  // What it was recorded behind, in a schedule or in a capture.
  Pending pending_;
  std::shared_ptr<Capture> capture_;
  std::vector<std::size_t> captured_;
  std::shared_ptr<Nanoseconds> at_ = std::make_shared<Nanoseconds>(0);
};

class EmulatedStream final : public Stream, public Queue {
 public:
  EmulatedStream(EmulatedDevice& device, unsigned lanes, std::uint64_t seed, std::uint32_t number)
      : Queue(lanes, seed), device_(device), number_(number) {}

  NativeStream native() const override {
    return const_cast<Queue*>(static_cast<const Queue*>(this));
  }
  void enqueue(Work kernel) override;

  void copy(void* to, const void* from, Bytes bytes) override;
  void fill(void* to, std::uint8_t byte, Bytes bytes) override;
  void record(Event& event) override;
  void mark(Event& event) override;
  void wait(const Event& event) override;
  void write_value(SharedFlag flag, std::uint32_t value) override;
  void wait_value(SharedFlag flag, std::uint32_t value) override;
  void call_host(void (*function)(void*), void* context) override;
  void synchronize() override;

  void begin_capture() override;
  std::unique_ptr<Graph> end_capture() override;
  void drop_capture() noexcept override;
  void launch(const Graph& graph) override;

 private:
  void enqueue(Operation operation);
  void launched(std::uint64_t nodes = 1);
  void run_at_once(const Operation& operation);
  bool captures();

  EmulatedDevice& device_;
  const std::uint32_t number_;
  std::uint64_t operations_ = 0;  // for the watchdog
  std::vector<Pending> last_;     // what the next operation comes after
  std::shared_ptr<Capture> capture_;
  std::vector<std::size_t> last_captured_;  // likewise, in the capture
};

}  // namespace hearth::kernels::emulated
