// The functions of a hearth_device as the runtime's Device.
#pragma once

#include <hearth/experts.h>

#include "api/status.h"
#include "runtime/experts/device.h"

namespace hearth::border {

class LentDevice final : public runtime::Device {
 public:
  // Misuse where a function is missing.
  explicit LentDevice(const hearth_device* given);

  Stream copy_stream() const override { return lent_.copy_stream; }
  std::byte* allocate(Bytes size) override {
    return static_cast<std::byte*>(lent_.alloc(lent_.user, size.count));
  }
  void free(std::byte* memory) override { lent_.free(lent_.user, memory); }
  bool lends_host_memory() const override { return lent_.alloc_host != nullptr; }
  std::byte* allocate_host(Bytes size) override {
    return static_cast<std::byte*>(lent_.alloc_host(lent_.user, size.count));
  }
  void free_host(std::byte* memory) override { lent_.free_host(lent_.user, memory); }

  int copy(std::byte* to, const std::byte* from, Bytes size) override {
    return lent_.copy(lent_.user, to, from, size.count, lent_.copy_stream);
  }
  Event make_event() override { return lent_.event_make(lent_.user); }
  void free_event(Event event) override { lent_.event_free(lent_.user, event); }
  int record(Event event, Stream stream) override {
    return lent_.event_record(lent_.user, event, stream);
  }
  int wait(Stream stream, Event event) override {
    return lent_.event_wait(lent_.user, stream, event);
  }
  int query(Event event) override { return lent_.event_query(lent_.user, event); }
  int synchronize(Event event) override { return lent_.event_synchronize(lent_.user, event); }

 private:
  hearth_device lent_;
};

}  // namespace hearth::border
