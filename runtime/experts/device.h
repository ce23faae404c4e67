// A device with memory of its own, as a program that owns it lends it, and its events.
//
// Streams and events are opaque; the numbers that functions return are 0 when they succeeded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/units.h"

namespace hearth::runtime {

class Device {
 public:
  using Stream = void*;
  using Event = void*;

  virtual ~Device() = default;
  virtual Stream copy_stream() const = 0;
  virtual std::byte* allocate(Bytes size) = 0;  // null: refused
  virtual void free(std::byte* memory) = 0;
  // Host memory that the device copies from without a detour; where it lends none, the host's own
  // is as good.
  virtual bool lends_host_memory() const = 0;
  virtual std::byte* allocate_host(Bytes size) = 0;
  virtual void free_host(std::byte* memory) = 0;

  virtual int copy(std::byte* to, const std::byte* from, Bytes size) = 0;  // on copy_stream()
  virtual Event make_event() = 0;                                          // null: refused
  virtual void free_event(Event event) = 0;
  virtual int record(Event event, Stream stream) = 0;
  virtual int wait(Stream stream, Event event) = 0;
  static constexpr int kNotReached = 1;
  virtual int query(Event event) = 0;
  virtual int synchronize(Event event) = 0;
};

// Events of one device, used again when nobody holds them any more. When one fails the device is
// lost: what it still does cannot be known, and Error(kIo) is thrown then and from then on.
class DeviceEvents {
 public:
  class Ref {
   public:
    Ref() = default;
    ~Ref() { reset(); }
    Ref(const Ref& other);
    Ref(Ref&& other) noexcept;
    Ref& operator=(Ref other) noexcept;

    bool held() const { return owner_ != nullptr; }
    Device::Event event() const;
    void reset();

   private:
    friend class DeviceEvents;
    Ref(DeviceEvents* owner, std::uint32_t index);
    DeviceEvents* owner_ = nullptr;
    std::uint32_t index_ = 0;
  };

  explicit DeviceEvents(Device& device) : device_(device) {}
  ~DeviceEvents();
  DeviceEvents(const DeviceEvents&) = delete;
  DeviceEvents& operator=(const DeviceEvents&) = delete;

  // Error(kBudget) where the device refuses one: so it is taken before what it is to follow.
  Ref take();
  void record(const Ref& ref, Device::Stream stream);
  bool reached(const Ref& ref);
  void make_wait(Device::Stream stream, const Ref& ref);
  void synchronize(const Ref& ref);

  bool lost() const { return lost_; }
  void throw_if_lost() const;

 private:
  struct Entry {
    Device::Event event = nullptr;
    std::uint32_t holders = 0;
  };
  std::uint32_t take_free();
  [[noreturn]] void lose(std::string_view what, int code);

  Device& device_;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> free_;
  bool lost_ = false;
};

}  // namespace hearth::runtime
