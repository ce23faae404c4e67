#include "api/lent_device.h"

namespace hearth::border {
namespace {

constexpr std::size_t kFirstDevice =
    offsetof(hearth_device, event_synchronize) + sizeof(hearth_device::event_synchronize);

}  // namespace

LentDevice::LentDevice(const hearth_device* given)
    : lent_(taken(given, kFirstDevice, "options->device")) {
  if (lent_.alloc == nullptr || lent_.free == nullptr || lent_.copy == nullptr ||
      lent_.event_make == nullptr || lent_.event_free == nullptr || lent_.event_record == nullptr ||
      lent_.event_wait == nullptr || lent_.event_query == nullptr ||
      lent_.event_synchronize == nullptr)
    throw Misuse(HEARTH_ERROR_USAGE,
                 "a function of options->device is null; only alloc_host and free_host may be");
  if ((lent_.alloc_host == nullptr) != (lent_.free_host == nullptr))
    throw Misuse(HEARTH_ERROR_USAGE,
                 "one of alloc_host and free_host is null; give both, or neither");
}

}  // namespace hearth::border
