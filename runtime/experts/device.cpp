#include "runtime/experts/device.h"

#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace hearth::runtime {

DeviceEvents::Ref::Ref(DeviceEvents* owner, std::uint32_t index) : owner_(owner), index_(index) {
  ++owner_->entries_[index_].holders;
}

DeviceEvents::Ref::Ref(const Ref& other) : owner_(other.owner_), index_(other.index_) {
  if (held()) ++owner_->entries_[index_].holders;
}

DeviceEvents::Ref::Ref(Ref&& other) noexcept
    : owner_(std::exchange(other.owner_, nullptr)), index_(other.index_) {}

DeviceEvents::Ref& DeviceEvents::Ref::operator=(Ref other) noexcept {
  std::swap(owner_, other.owner_);
  std::swap(index_, other.index_);
  return *this;
}

Device::Event DeviceEvents::Ref::event() const {
  return held() ? owner_->entries_[index_].event : nullptr;
}

void DeviceEvents::Ref::reset() {
  if (!held()) return;
  DeviceEvents& owner = *std::exchange(owner_, nullptr);
  if (--owner.entries_[index_].holders == 0) owner.free_.push_back(index_);
}

DeviceEvents::~DeviceEvents() {
  for (const Entry& entry : entries_) {
    CHECK_EQ(entry.holders, 0u);
    device_.free_event(entry.event);
  }
}

std::uint32_t DeviceEvents::take_free() {
  if (free_.empty()) {
    const Device::Event event = device_.make_event();
    if (event == nullptr)
      throw_error(ErrorCode::kBudget, "the device refused an event; free some of its resources");
    entries_.push_back({event});
    free_.reserve(entries_.size());  // so that giving an event back never fails
    free_.push_back(static_cast<std::uint32_t>(entries_.size() - 1));
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  return index;
}

DeviceEvents::Ref DeviceEvents::take() {
  throw_if_lost();
  return {this, take_free()};
}

void DeviceEvents::record(const Ref& ref, Device::Stream stream) {
  throw_if_lost();
  if (const int code = device_.record(ref.event(), stream)) lose("recording an event", code);
}

bool DeviceEvents::reached(const Ref& ref) {
  throw_if_lost();
  const int code = device_.query(ref.event());
  if (code != 0 && code != Device::kNotReached) lose("querying an event", code);
  return code == 0;
}

void DeviceEvents::make_wait(Device::Stream stream, const Ref& ref) {
  throw_if_lost();
  if (const int code = device_.wait(stream, ref.event())) lose("making a stream wait", code);
}

void DeviceEvents::synchronize(const Ref& ref) {
  throw_if_lost();
  if (const int code = device_.synchronize(ref.event())) lose("waiting for an event", code);
}

void DeviceEvents::throw_if_lost() const {
  if (lost_)
    throw_error(ErrorCode::kIo,
                "the device failed before, and what it still does is not known; close the store");
}

void DeviceEvents::lose(std::string_view what, int code) {
  lost_ = true;
  throw_error(ErrorCode::kIo, "the device failed: {} gave code {}; close the store", what, code);
}

}  // namespace hearth::runtime
